//! The node's loops against an API server in memory, in virtual time.

mod health;
mod lease;
mod registration;
mod writes;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use pinnace_pleg::health::Health;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::fake::{FakeApi, Fault, LEASE, NODE, Seen};
use super::{Clients, NodeHandle, Parts, start};
use crate::clock::Clock;
use crate::config::file::KubeletConfiguration;
use crate::config::node::settle;
use crate::config::node_flags::NodeFlags;
use crate::events::EventLog;
use crate::host::address::{InterfaceAddress, Network};
use crate::host::machine::{Host, Machine};
use crate::runtime::watch::{RuntimeCondition, RuntimeState, Said};
use crate::supervise::{Supervision, Supervisor};

/// A machine whose address can be changed.
struct FakeHost {
    ip: Mutex<IpAddr>,
}

impl Host for FakeHost {
    fn machine(&self) -> io::Result<Machine> {
        Ok(Machine {
            cpus: 2,
            memory: 4 << 30,
            storage: Some(1 << 40),
            machine_id: "m1".into(),
            system_uuid: "m1".into(),
            boot_id: "b1".into(),
            kernel: "6.12".into(),
            os_image: "Debian".into(),
            ..Machine::default()
        })
    }

    fn network(&self) -> io::Result<Network> {
        let ip = *self.ip.lock().unwrap();
        let address = InterfaceAddress { interface: "eth0".into(), ip, up: true, loopback: false };
        Ok(Network { addresses: vec![address], ..Network::default() })
    }

    fn resolve(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// A node and what it stands on.
struct Rig {
    api: FakeApi,
    lease_api: FakeApi,
    runtime: watch::Sender<RuntimeState>,
    _list: watch::Sender<Health>,
    host: Arc<FakeHost>,
    events: EventLog,
    handle: NodeHandle,
    stop: CancellationToken,
    supervision: Supervision,
    began: Instant,
}

fn well() -> RuntimeState {
    let condition = |kind: &str| {
        Some(RuntimeCondition {
            kind: kind.into(),
            status: true,
            reason: String::new(),
            message: String::new(),
        })
    };
    let said =
        Said { runtime: condition("RuntimeReady"), network: condition("NetworkReady"), ..Said::default() };
    let version = Some("containerd 2.2.0".to_owned());
    RuntimeState {
        asked: true,
        version,
        ready: true,
        network_ready: true,
        said: Some(said),
        ..RuntimeState::default()
    }
}

fn silent() -> RuntimeState {
    RuntimeState { asked: true, silent_since: Some(Instant::now()), ..RuntimeState::default() }
}

/// Starts a node on `api`.
fn rig(api: &FakeApi, runtime: RuntimeState, is_virtual: bool, file: Value) -> Rig {
    let file: KubeletConfiguration = serde_json::from_value(file).unwrap();
    let (settings, faults) = settle(&NodeFlags::default(), is_virtual, &file);
    assert_eq!(faults, []);
    let (runtime, runtime_reader) = watch::channel(runtime);
    // The last list is ahead of every test's time: the relist loop is well throughout.
    let ahead = Instant::now() + Duration::from_secs(86_400);
    let (list, list_reader) = watch::channel(Health::starting(ahead));
    let host = Arc::new(FakeHost { ip: Mutex::new("192.0.2.7".parse().unwrap()) });
    let stop = CancellationToken::new();
    let (supervisor, supervision) = Supervisor::new(stop.clone());
    let events = EventLog::default();
    let cri = pinnace_cri::fake::Fake::new(pinnace_cri::fake::Options::default());
    let parts = Parts {
        name: "node1".to_owned(),
        settings,
        told: Vec::new(),
        max_pods: 110,
        clients: Clients { api: api.client(), lease: api.client(), runtime: cri.client() },
        runtime: runtime_reader,
        list: list_reader,
        host: Arc::clone(&host) as Arc<dyn Host>,
        clock: Clock::scripted("b1", Duration::from_secs(9), Timestamp::from_second(1_800_000_000).unwrap()),
        events: events.clone(),
        is_new_root: false,
        seed: 7,
    };
    let handle = start(parts, &supervisor);
    Rig {
        api: api.clone(),
        lease_api: api.clone(),
        runtime,
        _list: list,
        host,
        events,
        handle,
        stop,
        supervision,
        began: Instant::now(),
    }
}

fn healthy() -> Rig {
    rig(&FakeApi::default(), well(), false, json!({}))
}

impl Rig {
    /// Waits until `check` holds, at most so many seconds.
    async fn until(&self, seconds: u64, what: &str, check: impl Fn(&Self) -> bool) -> Duration {
        let from = Instant::now();
        while !check(self) {
            assert!(from.elapsed() <= Duration::from_secs(seconds), "no {what} within {seconds} s");
            sleep(Duration::from_millis(10)).await;
        }
        from.elapsed()
    }

    fn ready(&self) -> Option<(String, String)> {
        let node = self.api.object(NODE)?;
        let conditions = node["status"]["conditions"].as_array()?.clone();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready")?;
        Some((ready["status"].as_str()?.to_owned(), ready["message"].as_str()?.to_owned()))
    }

    fn is_ready(&self) -> bool {
        self.ready().is_some_and(|(status, _)| status == "True")
    }

    fn patches(&self) -> Vec<Seen> {
        self.api.writes(&Method::PATCH, &format!("{NODE}/status"))
    }

    fn reasons(&self) -> Vec<String> {
        self.events.list().into_iter().map(|event| event.reason).collect()
    }

    async fn end(self) {
        self.stop.cancel();
        self.supervision.wait().await.unwrap();
    }
}
