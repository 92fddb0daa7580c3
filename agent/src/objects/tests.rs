//! Objects against an API server of a few lines, in virtual time.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;

mod server;

use server::Server;

/// Objects that are followed until this is dropped.
struct Rig {
    server: Server,
    objects: Objects,
    _task: tokio::task::JoinSet<()>,
}

impl Rig {
    fn new(strategy: Strategy) -> Self {
        let server = Server::default();
        let (objects, keeper) =
            Objects::following(server.client(), Connections::one(server.client()), strategy);
        let mut task = tokio::task::JoinSet::new();
        task.spawn(keeper.run(CancellationToken::new()));
        Self { server, objects, _task: task }
    }

    async fn value(&self, name: &str) -> Option<String> {
        let data = self.objects.get(&reference(name)).await.unwrap()?;
        Some(String::from_utf8(data.values["k"].bytes().to_vec()).unwrap())
    }

    /// Waits until a reader of the object would see this value.
    async fn until(&self, name: &str, value: Option<&str>, limit: Duration) {
        let became = async {
            while self.value(name).await.as_deref() != value {
                pause(10).await;
            }
        };
        tokio::time::timeout(limit, became).await.unwrap_or_else(|_| panic!("{name} is not {value:?}"));
    }

    async fn changed(&self) -> Vec<PodUid> {
        tokio::time::timeout(Duration::from_millis(50), self.objects.changed().take(999))
            .await
            .unwrap_or_default()
    }
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

fn reference(name: &str) -> Reference {
    Reference { kind: Kind::ConfigMap, namespace: "ns".into(), name: name.into() }
}

fn pod(uid: &str, maps: &[&str]) -> DesiredPod {
    let volumes: Vec<_> =
        maps.iter().map(|map| json!({ "name": map, "configMap": { "name": map } })).collect();
    let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(json!({
        "metadata": { "name": uid, "namespace": "ns", "uid": uid },
        "spec": { "containers": [{ "name": "c" }], "volumes": volumes },
    }))
    .unwrap();
    DesiredPod {
        uid: PodUid::new(uid).unwrap(),
        namespace: "ns".into(),
        name: uid.into(),
        origin: Origin::Api,
        pod: Arc::new(pod),
        held: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_pods_share_one_list_and_one_watch() {
    let rig = Rig::new(Strategy::Watch);
    rig.server.put("ca", "1");
    let pods: Vec<_> = (0..110).map(|n| pod(&format!("p{n}"), &["ca"])).collect();
    pods.iter().for_each(|pod| rig.objects.hold(pod));
    let values = futures::future::join_all(pods.iter().map(|_| rig.value("ca"))).await;
    assert!(values.iter().all(|value| value.as_deref() == Some("1")));
    assert_eq!((rig.server.lists("ca"), rig.server.watches()), (1, 2), "the second watch is of Services");
    assert!(rig.changed().await.is_empty());
    rig.server.put("ca", "2");
    assert_eq!(rig.changed().await.len(), 110);
    assert_eq!((rig.value("ca").await.as_deref(), rig.server.lists("ca")), (Some("2"), 1));
    // Nothing stays when they are gone.
    pods.iter().for_each(|pod| rig.objects.release(&pod.uid));
    tokio::time::sleep(book::UNUSED - Duration::from_secs(1)).await;
    assert_eq!(rig.server.watches(), 2, "who comes again soon finds it");
    pause(3_000).await;
    assert_eq!((rig.server.watches(), rig.objects.followed()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_watch_is_resumed_within_five_seconds_and_misses_nothing() {
    let rig = Rig::new(Strategy::Watch);
    rig.server.put("m", "1");
    rig.objects.hold(&pod("p", &["m"]));
    rig.until("m", Some("1"), Duration::from_secs(1)).await;
    // In order, after some time: it goes on from where it was.
    pause(2_000).await;
    rig.server.end_watches();
    pause(10).await;
    assert_eq!((rig.server.watches(), rig.server.lists("m")), (2, 1));
    // In disorder, with a change in the meantime.
    rig.server.with(|state| state.refuses = Some(500));
    rig.server.end_watches();
    pause(3_000).await;
    assert_eq!(rig.value("m").await.as_deref(), Some("1"), "what is known stays");
    rig.server.put("m", "2");
    rig.server.with(|state| state.refuses = None);
    rig.until("m", Some("2"), Duration::from_secs(5)).await;
    assert_eq!(rig.changed().await.len(), 1);
    pause(5_000).await;
    assert_eq!(rig.server.watches(), 2, "that of Services is back too");
}

#[tokio::test(start_paused = true)]
async fn a80_what_no_pod_refers_to_is_not_asked_about_again() {
    let rig = Rig::new(Strategy::Watch);
    rig.server.put("m", "1");
    rig.objects.hold(&pod("p", &["m"]));
    rig.until("m", Some("1"), Duration::from_secs(1)).await;
    pause(2_000).await;
    rig.objects.release(&pod("p", &[]).uid);
    rig.server.end_watches();
    pause(10).await;
    assert_eq!((rig.objects.followed(), rig.server.watches(), rig.server.lists("m")), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_is_listed_anew() {
    let rig = Rig::new(Strategy::Watch);
    rig.server.put("m", "1");
    rig.objects.hold(&pod("p", &["m"]));
    rig.until("m", Some("1"), Duration::from_secs(1)).await;
    pause(2_000).await;
    rig.server.with(|state| state.version = 90);
    rig.server.with(|state| state.oldest = 50);
    rig.server.end_watches();
    rig.server.put("m", "2");
    rig.until("m", Some("2"), Duration::from_secs(3)).await;
    pause(60_000).await;
    assert_eq!((rig.server.watches(), rig.server.lists("m")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_comes_late_goes_and_comes_again_is_followed() {
    let rig = Rig::new(Strategy::Watch);
    rig.objects.hold(&pod("p", &["m"]));
    assert_eq!(rig.value("m").await, None);
    for round in ["1", "2"] {
        rig.server.put("m", round);
        assert_eq!(rig.changed().await.len(), 1);
        assert_eq!(rig.value("m").await.as_deref(), Some(round));
        rig.server.remove("m");
        assert_eq!(rig.changed().await.len(), 1);
        assert_eq!(rig.value("m").await, None);
    }
    // Absence is asked about again, but not by each of a hundred.
    let before = rig.server.lists("m");
    pause(2_000).await;
    futures::future::join_all((0..100).map(|_| rig.value("m"))).await;
    assert!((1..=2).contains(&(rig.server.lists("m") - before)), "{}", rig.server.lists("m") - before);
}

#[tokio::test(start_paused = true)]
async fn an_immutable_object_is_read_once() {
    let rig = Rig::new(Strategy::Watch);
    rig.server.put_more("m", json!({ "immutable": true, "data": { "k": "1" } }));
    for _ in 0..3 {
        assert_eq!(rig.value("m").await.as_deref(), Some("1"));
        pause(60_000).await;
    }
    assert_eq!((rig.server.lists("m"), rig.server.watches()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_first_answer_hears_why_there_is_none() {
    let rig = Rig::new(Strategy::Watch);
    rig.server.put("m", "1");
    rig.server.with(|state| state.refuses = Some(403));
    let (server, began) = (rig.server.clone(), Instant::now());
    let error = rig.objects.get(&reference("m")).await.unwrap_err();
    assert_eq!(error.to_string(), "code 403");
    assert!(began.elapsed() < Duration::from_secs(1));
    // The next question is no worse off for it.
    server.with(|state| state.refuses = None);
    let began = Instant::now();
    assert_eq!(rig.value("m").await.as_deref(), Some("1"));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let odd = Reference { name: "../x".into(), ..reference("m") };
    assert!(matches!(rig.objects.get(&odd).await, Err(FetchError::Name(_))));
}

#[tokio::test(start_paused = true)]
async fn without_watches_changes_are_found_within_some_minutes() {
    for strategy in [Strategy::Cache, Strategy::Get] {
        let rig = Rig::new(strategy);
        rig.server.put("m", "1");
        rig.objects.hold(&pod("p", &["m"]));
        rig.until("m", Some("1"), Duration::from_secs(1)).await;
        rig.server.put("m", "2");
        pause(100).await;
        let live = if strategy == Strategy::Get { "2" } else { "1" };
        assert_eq!(rig.value("m").await.as_deref(), Some(live), "{strategy:?}");
        // A new pod gets no old answer.
        rig.objects.hold(&pod("q", &["m"]));
        rig.until("m", Some("2"), Duration::from_secs(2)).await;
        rig.changed().await;
        rig.server.put("m", "3");
        let heard = tokio::time::timeout(follow::POLL * 2, rig.objects.changed().take(9)).await;
        assert_eq!(heard.unwrap().len(), 2);
        assert_eq!(rig.value("m").await.as_deref(), Some("3"));
        let (gets, watches) = (rig.server.with(|state| state.gets), rig.server.watches());
        assert!(gets < 15 && watches == 1, "{gets} reads; the one watch is of Services");
    }
}

#[tokio::test(start_paused = true)]
async fn manifests_take_an_api_servers_place() {
    let objects = Objects::default();
    assert_eq!(objects.get(&reference("m")).await.unwrap(), None);
    assert!(objects.services("ns").await.unwrap().is_empty());
    objects.expect_manifests();
    assert!(matches!(objects.get(&reference("m")).await, Err(FetchError::NotRead)));
    objects.hold(&pod("p", &["m"]));
    let data = |value: &str| Data { values: [("k".to_owned(), value.into())].into(), ..Data::default() };
    let told =
        |value: &str| objects.tell_manifests(Arc::new([(reference("m"), Arc::new(data(value)))].into()));
    let changed =
        || async { tokio::time::timeout(Duration::from_millis(9), objects.changed().take(9)).await };
    told("1");
    assert_eq!(changed().await.unwrap().len(), 1);
    told("1");
    assert!(changed().await.is_err(), "nothing is new");
    told("2");
    assert_eq!(changed().await.unwrap().len(), 1);
    assert_eq!(objects.get(&reference("m")).await.unwrap().unwrap().values["k"].bytes(), b"2");
    objects.release(&pod("p", &[]).uid);
    assert_eq!(objects.followed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_and_fifty_objects_are_followed_side_by_side() {
    let rig = Rig::new(Strategy::Watch);
    let names: Vec<String> = (0..150).map(|n| format!("m{n}")).collect();
    names.iter().for_each(|name| rig.server.put(name, "1"));
    for (n, name) in names.iter().enumerate() {
        rig.objects.hold(&pod(&format!("p{n}"), &[name]));
    }
    for name in &names {
        rig.until(name, Some("1"), Duration::from_secs(5)).await;
    }
    assert_eq!(rig.server.watches(), 151);
    names.iter().for_each(|name| rig.server.put(name, "2"));
    assert_eq!(rig.changed().await.len(), 150);
}

#[tokio::test(start_paused = true)]
async fn whatever_was_away_is_heard_of_within_five_seconds_and_is_not_hammered() {
    const OUTAGE: u64 = 600;
    for (objects, code) in [(1, 503), (300, 503), (300, 429)] {
        let rig = Rig::new(Strategy::Watch);
        let names: Vec<String> = (0..objects).map(|n| format!("m{n}")).collect();
        names.iter().for_each(|name| rig.server.put(name, "1"));
        let pods: Vec<_> = names.iter().map(|name| pod(&format!("p-{name}"), &[name])).collect();
        pods.iter().for_each(|pod| rig.objects.hold(pod));
        for name in &names {
            rig.until(name, Some("1"), Duration::from_secs(5)).await;
        }
        pause(40_000).await;
        rig.server.with(|state| state.refuses = Some(code));
        rig.server.end_watches();
        // The first tries resume watches that had lived, before anybody knows.
        pause(5_000).await;
        rig.server.with(|state| state.refused = 0);
        pause(OUTAGE * 1_000).await;
        let tries = rig.server.with(|state| state.refused);
        println!("{objects} objects, code {code}: {tries} tries in {OUTAGE} s");
        assert!(tries <= usize::try_from(OUTAGE).unwrap() * 4, "{tries}");
        assert!(tries >= usize::try_from(OUTAGE).unwrap() / 5, "{tries}: it was given up");
        rig.changed().await;
        names.iter().for_each(|name| rig.server.put(name, "2"));
        rig.server.with(|state| state.refuses = None);
        let mut heard = 0;
        let all = async {
            while heard < objects {
                heard += rig.objects.changed().take(999).await.len();
            }
        };
        let heard_all = tokio::time::timeout(Duration::from_secs(5), all).await;
        assert!(heard_all.is_ok(), "{heard} of {objects} are heard of");
        pause(2_000).await;
        assert_eq!(rig.server.watches(), objects + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_is_asked_for_less_and_less() {
    let rig = Rig::new(Strategy::Watch);
    rig.server.with(|state| state.refuses = Some(403));
    rig.objects.hold(&pod("p", &["m"]));
    pause(60_000).await;
    rig.server.with(|state| state.refused = 0);
    pause(600_000).await;
    // The object and the Services.
    let tries = rig.server.with(|state| state.refused);
    assert!((36..=44).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn bundles_are_followed_in_the_version_that_there_is() {
    let rig = Rig::new(Strategy::Watch);
    let mut shows = pod("p", &[]);
    let source = json!({ "clusterTrustBundle": { "name": "other", "path": "p" } });
    let volume = json!({ "name": "v", "projected": { "sources": [source] } });
    let pod = Arc::make_mut(&mut shows.pod);
    pod.spec.as_mut().unwrap().volumes = Some(vec![serde_json::from_value(volume).unwrap()]);
    rig.objects.hold(&shows);
    let mut words = rig.objects.words(&shows.uid);
    let error = rig.objects.bundles().await.unwrap_err();
    assert_eq!(error.to_string(), "the API server does not serve clustertrustbundles.certificates.k8s.io");
    // The API server is told to serve them.
    let bundle = |text: &str| json!({ "spec": { "signerName": "x/s", "trustBundle": text } });
    rig.server.put_more("other", bundle("A"));
    rig.server.with(|state| state.serves = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles");
    tokio::time::timeout(Duration::from_secs(31), words.changed()).await.unwrap().unwrap();
    let text = async || rig.objects.bundles().await.unwrap()["other"].text.clone();
    assert_eq!(text().await, "A");
    let lists = rig.server.lists("other");
    rig.server.put_more("other", bundle("B"));
    assert_eq!(rig.changed().await, std::slice::from_ref(&shows.uid));
    assert_eq!(text().await, "B");
    rig.server.remove("other");
    assert_eq!(rig.changed().await.len(), 1);
    assert!(rig.objects.bundles().await.unwrap().is_empty());
    assert_eq!((rig.server.lists("other"), lists), (1, 1), "the watch told of it");
    // What is known of them serves while the server is away.
    rig.server.with(|state| state.refuses = Some(503));
    rig.server.end_watches();
    pause(30_000).await;
    assert!(rig.objects.bundles().await.is_ok());
}
