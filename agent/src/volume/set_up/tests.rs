//! Set-up, renewal and teardown against an API server of a few lines, in virtual time, on the disk in memory.

use std::convert::Infallible;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use server::Server;

use super::*;
use crate::disk::MemoryDisk;
use crate::disk::contents::Node;
use crate::pod::admit::Place;
use crate::source::desired::Origin;
use crate::volume::atomic_writer::current;
use crate::volume::plan::tests::{admitted, pod_with};

const START: i64 = 1_772_359_200;

struct Ground {
    server: Arc<Server>,
    disk: Arc<MemoryDisk>,
    events: EventLog,
    clock: Clock,
}

impl Ground {
    fn new() -> Self {
        let clock = Clock::scripted("b", Duration::from_secs(10_000), Timestamp::from_second(START).unwrap());
        Self { server: Arc::default(), disk: Arc::default(), events: EventLog::default(), clock }
    }

    /// As a start of the agent would make them.
    fn volumes(&self) -> Volumes {
        let (server, clock) = (Arc::clone(&self.server), self.clock.clone());
        let service = tower::service_fn(move |request| {
            let (server, clock) = (Arc::clone(&server), clock.clone());
            async move { Ok::<_, Infallible>(server.answer(&clock, request).await) }
        });
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
        let client = kube::Client::new(service, "default");
        let disk: Arc<dyn Disk> = Arc::clone(&self.disk) as Arc<dyn Disk>;
        Volumes::new(
            crate::objects::Objects::new(client),
            disk,
            dirs,
            self.clock.clone(),
            self.events.clone(),
            Allocatable::new(watch::channel(Arc::new(Place::bare("n", 110))).1, 1 << 30),
        )
    }

    fn file(&self, name: &str) -> String {
        self.file_in("kubernetes.io~projected/kube-api-access-x7k2p", name)
    }

    fn file_in(&self, volume: &str, name: &str) -> String {
        let dir = PathBuf::from("/r/pods/u1/volumes").join(volume);
        let contents = self.disk.contents(&dir).unwrap();
        let version = current(&contents).expect("a version is in use");
        let Some(Node::File(bytes, _)) = contents.get(&version.join(name)) else { panic!("no {name}") };
        String::from_utf8(bytes.bytes().to_vec()).unwrap()
    }

    fn token_number(&self) -> String {
        self.file("token").rsplit('-').next().unwrap().to_owned()
    }

    fn messages(&self) -> Vec<String> {
        self.events.list().into_iter().map(|event| format!("{} {}", event.reason, event.message)).collect()
    }
}

fn pod() -> Arc<DesiredPod> {
    Arc::new(DesiredPod {
        uid: PodUid::new("u1").unwrap(),
        namespace: "ns".into(),
        name: "web".into(),
        origin: Origin::File("/m".into()),
        pod: Arc::new(pod_with(json!([admitted()]))),
        held: Vec::new(),
    })
}

async fn set_up(volumes: &Volumes) -> Result<(), SetUpError> {
    volumes.set_up(&pod(), &CancellationToken::new()).await
}

#[expect(clippy::disallowed_methods, reason = "the loop under test has no supervisor here")]
fn run(volumes: &Volumes) -> tokio_util::sync::DropGuard {
    let stop = CancellationToken::new();
    tokio::spawn(volumes.refresher().run(stop.clone()));
    stop.drop_guard()
}

async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_volume_that_every_pod_gets_is_set_up() {
    let ground = Ground::new();
    set_up(&ground.volumes()).await.unwrap();
    assert_eq!((ground.file("ca.crt").as_str(), ground.file("namespace").as_str()), ("CA", "ns"));
    assert_eq!(ground.token_number(), "1");
    let state = ground.server.state.lock().unwrap();
    let (_, request) = state.requests.iter().find(|(path, _)| path.ends_with("/token")).unwrap();
    let bound = json!({ "apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u1" });
    let spec = json!({ "audiences": [], "expirationSeconds": 3607, "boundObjectRef": bound });
    assert_eq!((&request["spec"], state.requests.len()), (&spec, 2));
}

#[tokio::test(start_paused = true)]
async fn a_missing_config_map_is_told_in_the_kubelets_words() {
    let ground = Ground::new();
    let volumes = ground.volumes();
    ground.server.set(|state| state.ca = None);
    assert!(set_up(&volumes).await.is_err());
    assert!(set_up(&volumes).await.is_err());
    let told = "FailedMount MountVolume.SetUp failed for volume \"kube-api-access-x7k2p\" : \
        configmap \"kube-root-ca.crt\" not found";
    assert_eq!(ground.messages(), [told]);
    assert_eq!(ground.server.tokens(), 1, "a token that was given is not asked for again");
    ground.server.set(|state| state.ca = Some("CA"));
    set_up(&volumes).await.unwrap();
    assert_eq!((ground.file("ca.crt").as_str(), ground.server.tokens()), ("CA", 1));
}

#[tokio::test(start_paused = true)]
async fn what_the_authorizer_does_not_know_yet_is_asked_for_again() {
    let ground = Ground::new();
    let volumes = ground.volumes();
    ground.server.set(|state| state.forbidden = 4);
    let began = tokio::time::Instant::now();
    set_up(&volumes).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100));
    volumes.tear_down(&pod().uid).await.unwrap();
    ground.server.set(|state| state.forbidden = usize::MAX);
    let error = set_up(&volumes).await.unwrap_err().to_string();
    assert!(error.contains("failed to fetch token: no relationship found"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_the_token_call_does_not_know_yet_is_asked_for_again() {
    let ground = Ground::new();
    ground.server.set(|state| state.pod_unknown = 2);
    set_up(&ground.volumes()).await.unwrap();
    assert_eq!(ground.server.tokens(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_api_server_is_waited_for_10_seconds() {
    let ground = Ground::new();
    ground.server.set(|state| state.hangs = true);
    let began = tokio::time::Instant::now();
    let error = set_up(&ground.volumes()).await.unwrap_err().to_string();
    assert!(error.contains("failed to fetch token: the API server did not answer within 10 s"), "{error}");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_set_up_ends_when_its_pod_is_to_go() {
    let ground = Ground::new();
    let volumes = ground.volumes();
    ground.server.set(|state| state.hangs = true);
    let leaving = CancellationToken::new();
    let (pod, told) = (pod(), leaving.clone());
    let both = futures::future::join(volumes.set_up(&pod, &leaving), async {
        after(1).await;
        told.cancel();
    });
    assert!(matches!(both.await.0, Err(SetUpError::Leaving)));
    volumes.tear_down(&pod.uid).await.unwrap();
    assert_eq!(ground.messages(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a33_a_token_is_renewed_in_time_and_config_maps_with_it() {
    let ground = Ground::new();
    let volumes = ground.volumes();
    let _stop = run(&volumes);
    set_up(&volumes).await.unwrap();
    ground.server.set(|state| state.ca = Some("NEW CA"));
    after(2_870).await;
    assert_eq!((ground.token_number().as_str(), ground.server.calls()), ("1", 2));
    after(20).await;
    assert_eq!((ground.token_number().as_str(), ground.file("ca.crt").as_str()), ("2", "NEW CA"));
    after(24 * 3_600).await;
    let renewals = (ground.server.tokens(), ground.server.calls());
    assert_eq!(renewals, (31, 62), "one in 2880 s");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_used_on_while_it_is_valid_and_renewed_when_that_works_again() {
    let ground = Ground::new();
    let volumes = ground.volumes();
    let _stop = run(&volumes);
    set_up(&volumes).await.unwrap();
    ground.server.set(|state| state.refused = Some("no"));
    after(3_500).await;
    assert_eq!(ground.token_number(), "1");
    let tries = ground.server.calls();
    assert!((10..50).contains(&tries), "{tries} calls in ten minutes");
    // No longer valid, and still there: a container may read it and be refused.
    after(500).await;
    assert_eq!(ground.token_number(), "1");
    ground.server.set(|state| state.refused = None);
    after(61).await;
    assert_eq!(ground.token_number(), "2");
    assert_eq!(ground.messages(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_does_without_a_config_map_that_is_gone() {
    let ground = Ground::new();
    let volumes = ground.volumes();
    let _stop = run(&volumes);
    set_up(&volumes).await.unwrap();
    ground.server.set(|state| state.ca = None);
    after(2_900).await;
    assert_eq!((ground.token_number().as_str(), ground.file("ca.crt").as_str()), ("2", "CA"));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_whole_volume_is_kept_and_its_token_renewed_in_time() {
    let ground = Ground::new();
    set_up(&ground.volumes()).await.unwrap();
    let (calls, changes) = (ground.server.calls(), ground.disk.changes());
    after(1_000).await;
    // The API server is away meanwhile.
    ground.server.set(|state| state.hangs = true);
    let volumes = ground.volumes();
    let _stop = run(&volumes);
    set_up(&volumes).await.unwrap();
    assert_eq!((ground.server.calls(), ground.disk.changes()), (calls, changes));
    ground.server.set(|state| state.hangs = false);
    after(1_800).await;
    assert_eq!(ground.token_number(), "1");
    after(200).await;
    assert_eq!(ground.token_number(), "2");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_token_that_has_expired_is_renewed_at_once() {
    let ground = Ground::new();
    set_up(&ground.volumes()).await.unwrap();
    after(5_000).await;
    let volumes = ground.volumes();
    let _stop = run(&volumes);
    set_up(&volumes).await.unwrap();
    after(3).await;
    assert_eq!(ground.token_number(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_teardown_waits_for_no_call_and_nothing_is_written_after_it() {
    let ground = Ground::new();
    let volumes = ground.volumes();
    let _stop = run(&volumes);
    set_up(&volumes).await.unwrap();
    ground.server.set(|state| state.hangs = true);
    after(2_890).await;
    assert_eq!(ground.server.calls(), 4, "a renewal hangs");
    let began = tokio::time::Instant::now();
    volumes.tear_down(&pod().uid).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    ground.server.set(|state| state.hangs = false);
    let changes = ground.disk.changes();
    after(10_000).await;
    assert_eq!((ground.disk.changes(), ground.server.calls()), (changes, 4));
    assert!(ground.disk.mounts(&PathBuf::from("/r")).unwrap().is_empty());
    volumes.tear_down(&pod().uid).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a32_a_token_is_in_memory_only_and_never_shown() {
    let ground = Ground::new();
    let volumes = ground.volumes();
    set_up(&volumes).await.unwrap();
    let token = ground.file("token");
    assert!(!format!("{volumes:?}").contains(&token));
    assert_eq!(ground.disk.mounts(&PathBuf::from("/r")).unwrap().len(), 1);
    volumes.tear_down(&pod().uid).await.unwrap();
    let found = ground.disk.files().into_values().any(|bytes| bytes == token.as_bytes());
    assert!(!found && !format!("{volumes:?}").contains(&token));
}

mod huge_pages;
mod kinds;
mod server;
