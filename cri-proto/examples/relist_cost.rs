//! What a relist costs after the transport: nanoseconds per container, beside the decode of everything.
//!
//! `cargo run --release -p pinnace-cri --example relist_cost`. One sandbox per container, records of the size that
//! containerd sends for a pod of the kubelet's (431 and 746 bytes), prepared wire bytes, best of several rounds.

#![expect(clippy::disallowed_methods, reason = "it measures this machine, so it reads the real clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pinnace_cri::container::Container;
use pinnace_cri::labels::{self, Ownership};
use pinnace_cri::lister::{Listed, Relist};
use pinnace_cri::sandbox::Sandbox;
use pinnace_cri::v1;
use prost::Message;

const SANDBOX_BYTES: usize = 431;
const CONTAINER_BYTES: usize = 746;

fn main() {
    println!(
        "relist after transport, ns per container (one sandbox of 431 B and one container of 746 B each)"
    );
    println!(
        "{:>10} {:>12} {:>12} {:>12} {:>14}",
        "containers", "unchanged", "1 % changed", "decode all", "decode+convert"
    );
    for count in [110, 1_000, 10_000] {
        let (now, later) = (Wire::new(count, 0), Wire::new(count, count.div_ceil(100)));
        let rounds = 300_000 / count;
        let mut relist = Relist::new(Ownership::Node("node".into()));
        relist.absorb(&now.sandboxes, &now.containers).ok();
        let unchanged = best(rounds, || {
            assert_eq!(relist.absorb(&now.sandboxes, &now.containers), Ok(Listed::Unchanged));
        });
        let mut turn = 0;
        let changed = best(rounds, || {
            turn += 1;
            let wire = if turn % 2 == 0 { &now } else { &later };
            black_box(relist.absorb(&wire.sandboxes, &wire.containers)).ok();
        });
        let decode = best(rounds, || drop(black_box(now.decode())));
        let convert = best(rounds, || drop(black_box(now.convert())));
        let per = |whole: Duration| whole.as_nanos() as f64 / count as f64;
        println!(
            "{count:>10} {:>12.0} {:>12.0} {:>12.0} {:>14.0}",
            per(unchanged),
            per(changed),
            per(decode),
            per(convert)
        );
    }
}

fn best(rounds: usize, mut work: impl FnMut()) -> Duration {
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..rounds).map(once).min().unwrap_or_default()
}

/// The answers of both list calls.
struct Wire {
    sandboxes: Vec<Bytes>,
    containers: Vec<Bytes>,
}

impl Wire {
    fn new(count: usize, exited: usize) -> Self {
        let items = (0..count).map(sandbox).collect();
        let containers = (0..count).map(|at| container(at, at < exited)).collect();
        Self {
            sandboxes: vec![v1::ListPodSandboxResponse { items }.encode_to_vec().into()],
            containers: vec![v1::ListContainersResponse { containers }.encode_to_vec().into()],
        }
    }

    fn decode(&self) -> Option<(v1::ListPodSandboxResponse, v1::ListContainersResponse)> {
        let sandboxes = v1::ListPodSandboxResponse::decode(self.sandboxes.first()?.as_ref()).ok()?;
        Some((sandboxes, v1::ListContainersResponse::decode(self.containers.first()?.as_ref()).ok()?))
    }

    fn convert(&self) -> Option<(Vec<Sandbox>, Vec<Container>)> {
        let (sandboxes, containers) = self.decode()?;
        let sandboxes = sandboxes.items.into_iter().filter_map(|wire| wire.try_into().ok()).collect();
        Some((sandboxes, containers.containers.into_iter().filter_map(|wire| wire.try_into().ok()).collect()))
    }
}

fn id(kind: u8, at: usize) -> String {
    format!("{kind:02x}{at:062x}")
}

fn uid(at: usize) -> String {
    format!("4b6e3a1c-7b1f-4e55-a0f4-{at:012x}")
}

fn pod_labels(at: usize) -> [(String, String); 3] {
    [
        (labels::POD_NAME.into(), format!("web-5d9c7b6f4-{at:05}")),
        (labels::POD_NAMESPACE.into(), "default".into()),
        (labels::POD_UID.into(), uid(at)),
    ]
}

fn sandbox(at: usize) -> v1::PodSandbox {
    let mut wire = v1::PodSandbox {
        id: id(1, at),
        metadata: Some(v1::PodSandboxMetadata {
            name: format!("web-5d9c7b6f4-{at:05}"),
            uid: uid(at),
            namespace: "default".into(),
            attempt: 0,
        }),
        created_at: 1_764_000_000_000_000_000,
        labels: pod_labels(at).into(),
        annotations: [(labels::CONFIG_SOURCE.into(), "api".into())].into(),
        ..Default::default()
    };
    let mut seen = String::from("2026");
    while wire.encoded_len() < SANDBOX_BYTES && seen.len() < SANDBOX_BYTES {
        seen.push('0');
        wire.annotations.insert(labels::CONFIG_SEEN.into(), seen.clone());
    }
    wire
}

fn container(at: usize, exited: bool) -> v1::Container {
    let digest = format!("sha256:{at:064x}");
    let mut wire = v1::Container {
        id: id(2, at),
        pod_sandbox_id: id(1, at),
        metadata: Some(v1::ContainerMetadata { name: "web".into(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: digest.clone(), ..Default::default() }),
        image_ref: digest,
        state: if exited { 2 } else { 1 },
        created_at: 1_764_000_000_000_000_000,
        labels: pod_labels(at).into(),
        annotations: [
            (labels::CONTAINER_HASH.into(), "8f1c0a3d".into()),
            (labels::RESTART_COUNT.into(), "0".into()),
            (labels::TERMINATION_MESSAGE_PATH.into(), "/dev/termination-log".into()),
            (labels::TERMINATION_MESSAGE_POLICY.into(), "File".into()),
        ]
        .into(),
        ..Default::default()
    };
    wire.labels.insert(labels::CONTAINER_NAME.into(), "web".into());
    let mut grace = String::from("3");
    while wire.encoded_len() < CONTAINER_BYTES && grace.len() < CONTAINER_BYTES {
        grace.push('0');
        wire.annotations.insert(labels::POD_TERMINATION_GRACE_PERIOD.into(), grace.clone());
    }
    wire
}
