//! What pods refer to: read once for all of them, followed while they run, and forgotten after them.

use std::collections::BTreeMap;
use std::time::Duration;

use pinnace::disk::contents::Node as Entry;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::fake_api::requests::{Request, Verb};
use crate::harness::sleeper;
use crate::rig::{Rig, SOON};

/// Where a pod shows an object: kind of the volume and its name.
const SHARED: (&str, &str) = ("kubernetes.io~configmap", "shared");
const OWN: (&str, &str) = ("kubernetes.io~secret", "own");

impl Rig {
    fn map(&self, name: &str, value: &str) {
        self.api.create(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
            "data": { "k": value } }));
    }

    fn secret(&self, name: &str, value: &str) {
        use base64::Engine;
        let value = base64::engine::general_purpose::STANDARD.encode(value);
        self.api.create(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "data": { "k": value } }));
    }

    fn set_map(&self, name: &str, value: &str) {
        self.api.update("configmaps", "default", name, |map| map["data"]["k"] = json!(value));
    }

    fn set_secret(&self, name: &str, value: &str) {
        use base64::Engine;
        let value = base64::engine::general_purpose::STANDARD.encode(value);
        self.api.update("secrets", "default", name, |secret| secret["data"]["k"] = json!(value));
    }

    /// What the pod's file `k` holds; none if it is not there.
    fn shown(&self, uid: &str, (kind, volume): (&str, &str)) -> Option<String> {
        let root = self.make.dir.path().join("root/pods").join(uid).join("volumes").join(kind).join(volume);
        let all = self.make.disk.contents(&root).unwrap();
        let Some(Entry::Link(version)) = all.get("..data".as_ref() as &std::path::Path) else { return None };
        let Some(Entry::File(bytes, _)) = all.get(&version.join("k")) else { return None };
        Some(String::from_utf8(bytes.bytes().to_vec()).unwrap())
    }

    /// How long each of these pods takes until it shows `value`, in the order of the names; sorted.
    async fn latencies(&self, uids: &[String], place: (&str, &str), value: &str) -> Vec<Duration> {
        let (began, mut seen) = (Instant::now(), BTreeMap::new());
        while seen.len() < uids.len() {
            assert!(began.elapsed() < SOON, "only {} of {} pods show {value:?}", seen.len(), uids.len());
            for uid in uids {
                if !seen.contains_key(uid) && self.shown(uid, place).as_deref() == Some(value) {
                    seen.insert(uid.clone(), began.elapsed());
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        let mut took: Vec<_> = seen.into_values().collect();
        took.sort();
        took
    }

    /// Open watches of what pods refer to.
    fn open_watches(&self) -> usize {
        self.api
            .count(|request| request.verb == Verb::Watch && is_referred(request) && request.ended.is_none())
    }

    fn reads(&self, verb: Verb) -> usize {
        self.api.count(|request| request.verb == verb && is_referred(request))
    }
}

fn is_referred(request: &Request) -> bool {
    ["configmaps", "secrets", "services"].contains(&request.resource.as_str())
}

/// A pod that shows ConfigMap `shared` and this Secret.
fn pod(name: &str, secret: &str, optional: bool) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["volumes"] = json!([
        { "name": "shared", "configMap": { "name": "shared", "optional": optional } },
        { "name": "own", "secret": { "secretName": secret } },
    ]);
    pod
}

#[tokio::test(start_paused = true)]
async fn a_change_is_in_the_files_of_a_hundred_pods_within_two_seconds() {
    const PODS: usize = 100;
    const SECRETS: usize = 10;
    let rig = Rig::new();
    let agent = rig.start();
    rig.map("shared", "1");
    let secrets: Vec<String> = (0..SECRETS).map(|n| format!("s{n}")).collect();
    secrets.iter().for_each(|name| rig.secret(name, "1"));
    let names: Vec<String> = (0..PODS).map(|n| format!("p{n}")).collect();
    let made = names.iter().zip(secrets.iter().cycle());
    let uids: Vec<String> = made.map(|(name, secret)| rig.create(&pod(name, secret, false))).collect();
    for name in &names {
        rig.until_ready(name).await;
    }
    // One list and one watch each, however many pods: the ConfigMap, the Secrets, all Services.
    let each = SECRETS + 2;
    assert_eq!((rig.reads(Verb::Get), rig.reads(Verb::List), rig.open_watches()), (0, each, each));
    assert!(uids.iter().all(|uid| rig.shown(uid, SHARED).as_deref() == Some("1")));

    rig.set_map("shared", "2");
    let took = rig.latencies(&uids, SHARED, "2").await;
    println!("shared by {PODS} pods: median {:?}, longest {:?}", took[PODS / 2], took[PODS - 1]);
    assert!(took[PODS - 1] <= Duration::from_secs(2), "{:?}", took[PODS - 1]);
    secrets.iter().for_each(|name| rig.set_secret(name, "2"));
    let took = rig.latencies(&uids, OWN, "2").await;
    println!("{SECRETS} Secrets of {PODS} pods: median {:?}, longest {:?}", took[PODS / 2], took[PODS - 1]);
    assert!(took[PODS - 1] <= Duration::from_secs(2), "{:?}", took[PODS - 1]);
    assert_eq!((rig.reads(Verb::Get), rig.reads(Verb::List)), (0, each));

    // Nothing is left of a hundred pods that came and went.
    for name in &names {
        rig.api.delete("pods", "default", name);
    }
    rig.until_empty(Duration::from_secs(120)).await;
    sleep(Duration::from_secs(320)).await;
    assert_eq!(rig.open_watches(), 0);
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn a_lost_watch_is_resumed_and_what_changed_meanwhile_is_shown() {
    let rig = Rig::new();
    let agent = rig.start();
    rig.map("shared", "1");
    rig.secret("web", "1");
    let uid = [rig.create(&pod("web", "web", false))];
    rig.until_ready("web").await;
    for (round, befalls) in
        [FakeApiFault::Cut, FakeApiFault::Expire, FakeApiFault::End].into_iter().enumerate()
    {
        let value = format!("after {round}");
        for resource in ["configmaps", "secrets"] {
            match befalls {
                FakeApiFault::Cut => rig.api.cut_watches(resource),
                FakeApiFault::Expire => rig.api.expire_watches(resource),
                FakeApiFault::End => rig.api.end_watches(resource),
            }
        }
        rig.set_map("shared", &value);
        rig.set_secret("web", &value);
        let took = rig.latencies(&uid, SHARED, &value).await;
        assert!(took[0] <= Duration::from_secs(5), "{befalls:?}: {took:?}");
        rig.latencies(&uid, OWN, &value).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.open_watches(), 3, "{befalls:?}");
    }
    // While the server is away the pod shows what it showed, and new words reach it afterwards.
    rig.api.down();
    sleep(Duration::from_secs(300)).await;
    assert_eq!(rig.shown(&uid[0], SHARED).as_deref(), Some("after 2"));
    rig.api.up();
    rig.set_map("shared", "last");
    rig.until("the change is shown", Duration::from_secs(60), || {
        rig.shown(&uid[0], SHARED).as_deref() == Some("last")
    })
    .await;
    agent.stop().await;
}

#[derive(Debug, Clone, Copy)]
enum FakeApiFault {
    Cut,
    Expire,
    End,
}

#[tokio::test(start_paused = true)]
async fn an_optional_object_comes_goes_and_comes_again() {
    let rig = Rig::new();
    let agent = rig.start();
    rig.secret("web", "1");
    let uid = rig.create(&pod("web", "web", true));
    rig.until_ready("web").await;
    assert_eq!(rig.shown(&uid, SHARED), None);
    for round in ["1", "2"] {
        rig.map("shared", round);
        rig.until("it is shown", SOON, || rig.shown(&uid, SHARED).as_deref() == Some(round)).await;
        rig.api.delete("configmaps", "default", "shared");
        rig.until("it is gone", SOON, || rig.shown(&uid, SHARED).is_none()).await;
    }
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn a_restart_shows_what_changed_while_the_agent_was_away() {
    let rig = Rig::new();
    let agent = rig.start();
    rig.map("shared", "1");
    rig.secret("web", "1");
    let uid = rig.create(&pod("web", "web", false));
    rig.until_ready("web").await;
    agent.stop().await;
    rig.set_map("shared", "2");
    let agent = rig.start();
    rig.until("the change is shown", SOON, || rig.shown(&uid, SHARED).as_deref() == Some("2")).await;
    assert!(rig.is_ready("web"));
    agent.stop().await;
    rig.check_manners();
}

/// Pods that wait for objects, each since another moment: tries that only time brings are spread over many seconds.
#[tokio::test(start_paused = true)]
async fn what_was_missing_starts_its_pods_within_a_second_of_its_coming() {
    const AT_ONCE: Duration = Duration::from_secs(1);
    const EACH: usize = 8;
    let rig = Rig::new();
    let agent = rig.start();
    rig.secret("web", "1");
    let (mut mounted, mut told) = (Vec::new(), Vec::new());
    for n in 0..EACH {
        mounted.push(rig.create(&pod(&format!("mounted{n}"), "web", false)));
        let mut pod = sleeper(&format!("told{n}"));
        pod["spec"]["containers"][0]["env"] = json!([
            { "name": "S", "valueFrom": { "secretKeyRef": { "name": "late", "key": "k" } } },
            { "name": "M", "valueFrom": { "configMapKeyRef": { "name": "shared", "key": "k" } } },
        ]);
        told.push(rig.create(&pod));
        sleep(Duration::from_millis(1_300)).await;
    }
    sleep(Duration::from_secs(120)).await;
    let running = |uids: &[String]| uids.iter().filter(|uid| rig.running(uid) == 1).count();
    assert_eq!((running(&mounted), running(&told)), (0, 0));
    rig.map("shared", "1");
    rig.until("the pods of the volume run", AT_ONCE, || running(&mounted) == EACH).await;
    assert_eq!(running(&told), 0, "their Secret is not there");
    rig.secret("late", "1");
    rig.until("the pods of the environment run", AT_ONCE, || running(&told) == EACH).await;
    // Nobody reads or watches for it more than before.
    assert_eq!((rig.reads(Verb::Get), rig.open_watches()), (0, 4));
    agent.stop().await;
    rig.check_manners();
}
