//! ConfigMaps and Secrets change while pods run that show them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::text;
use crate::case::{Case, WAIT, pod};
use crate::control_plane::ControlPlane;
use crate::say;

/// A change is to be in the files within this time.
const LIMIT: Duration = Duration::from_secs(2);
/// Objects that one pod shows: more than one connection carries watches of.
const MANY: usize = 150;

/// Prints what the two files hold whenever one has changed.
const SHOW: &str = "trap 'exit 0' TERM; last=; while :; do now=\"`cat /map/k` `cat /secret/k`\"; \
                    [ \"$now\" = \"$last\" ] || echo \"$now\"; last=\"$now\"; sleep 0.02; done";

fn map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "k": value } })
}

/// Changes `k` of an object; when that was asked for.
fn set(case: &Case<'_>, kind: &str, name: &str, value: &str) -> Instant {
    let field = if kind == "secret" { "stringData" } else { "data" };
    let patch = json!({ field: { "k": value } }).to_string();
    let began = Instant::now();
    case.namespace.kubectl(&["patch", kind, name, "--type=merge", "-p", &patch]);
    began
}

/// Waits until a file on the node holds this; how long after `since`.
fn until_shown(case: &Case<'_>, file: &PathBuf, value: &str, since: Instant) -> Duration {
    let look = || match std::fs::read_to_string(file) {
        Ok(found) if found == value => Ok(()),
        other => Err(format!("{}: {other:?}", file.display())),
    };
    case.agent.until("the change in the file", since, Duration::from_secs(30), look).1
}

pub(crate) fn changes_reach_files_within_two_seconds(cluster: &ControlPlane) {
    let case = Case::start(cluster, "live-updates");
    case.namespace.create(&map("m", "1"));
    case.namespace.create(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
        "stringData": { "k": "1" } }));
    let mut web = pod("web", "Always", SHOW);
    web["spec"]["volumes"] = json!([
        { "name": "map", "configMap": { "name": "m" } }, { "name": "secret", "secret": { "secretName": "s" } },
    ]);
    web["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "map", "mountPath": "/map" }, { "name": "secret", "mountPath": "/secret" }]);
    case.namespace.create(&web);
    let running = case.until_phase("web", "Running");
    let volumes = case.agent.path("root/pods").join(text(&running["metadata"]["uid"])).join("volumes");
    let mut longest = Duration::ZERO;
    for round in 2..7 {
        let value = round.to_string();
        let since = set(&case, "configmap", "m", &value);
        longest =
            longest.max(until_shown(&case, &volumes.join("kubernetes.io~configmap/map/k"), &value, since));
        let since = set(&case, "secret", "s", &value);
        longest =
            longest.max(until_shown(&case, &volumes.join("kubernetes.io~secret/secret/k"), &value, since));
    }
    let logs = || {
        let logs = case.namespace.kubectl(&["logs", "web"]);
        if logs.lines().last() == Some("6 6") { Ok(()) } else { Err(logs) }
    };
    case.agent.until("the container sees the last change", Instant::now(), LIMIT, logs);
    say(&format!("live updates: longest of 10 changes {longest:?}, kubectl included"));
    assert!(longest <= LIMIT, "{longest:?}");
    case.agent.a80_was_never_refused();
}

pub(crate) fn one_pod_follows_150_objects(cluster: &ControlPlane) {
    let case = Case::start(cluster, "many-objects");
    let name = |n: usize| format!("m{n}");
    let items: Vec<Value> = (0..MANY).map(|n| map(&name(n), "1")).collect();
    case.namespace.create(&json!({ "apiVersion": "v1", "kind": "List", "items": items }));
    let sources: Vec<Value> = (0..MANY)
        .map(|n| json!({ "configMap": { "name": name(n), "items": [{ "key": "k", "path": name(n) }] } }))
        .collect();
    let mut web = pod("web", "Always", "trap 'exit 0' TERM; sleep 100000 & wait");
    web["spec"]["volumes"] = json!([{ "name": "all", "projected": { "sources": sources } }]);
    let began = Instant::now();
    case.namespace.create(&web);
    let running = case.until_phase("web", "Running");
    let started = began.elapsed();
    let volumes = case.agent.path("root/pods").join(text(&running["metadata"]["uid"])).join("volumes");
    let mut longest = Duration::ZERO;
    for n in [0, MANY / 2, MANY - 1] {
        let since = set(&case, "configmap", &name(n), "2");
        let file = volumes.join("kubernetes.io~projected/all").join(name(n));
        longest = longest.max(until_shown(&case, &file, "2", since));
    }
    say(&format!("{MANY} objects: running after {started:?}, longest change {longest:?}, kubectl included"));
    assert!(longest <= LIMIT, "{longest:?}");
    case.agent.a80_was_never_refused();
}

/// The pods of the measurement; all in `make test-all`.
const PODS: (usize, usize) = (20, 100);
/// How often each object is changed.
const ROUNDS: usize = 5;

/// Pods that share a ConfigMap and have one of their own.
struct Many {
    shared: Vec<PathBuf>,
    own: Vec<PathBuf>,
}

impl Many {
    fn start(case: &Case<'_>, count: usize) -> Self {
        let own = |n: usize| format!("own{n}");
        let maps = (0..count).map(|n| map(&own(n), "1")).chain([map("shared", "1")]);
        let pods = (0..count).map(|n| {
            let mut one = pod(&format!("p{n}"), "Always", WAIT);
            one["spec"]["volumes"] = json!([
                { "name": "shared", "configMap": { "name": "shared" } },
                { "name": "own", "configMap": { "name": own(n) } },
            ]);
            one
        });
        let items: Vec<Value> = maps.chain(pods).collect();
        case.namespace.create(&json!({ "apiVersion": "v1", "kind": "List", "items": items }));
        let running = |pods: &[Value]| {
            let is_running = |pod: &&Value| pod["status"]["phase"] == "Running";
            (pods.iter().filter(is_running).count() == count).then(|| pods.to_vec())
        };
        let pods = case.until_pods("all pods Running", Instant::now(), running).0;
        let by_name = |n: usize| pods.iter().find(|pod| pod["metadata"]["name"] == format!("p{n}")).unwrap();
        let file = |n: usize, volume: &str| {
            let uid = text(&by_name(n)["metadata"]["uid"]).to_owned();
            case.agent
                .path("root/pods")
                .join(uid)
                .join("volumes/kubernetes.io~configmap")
                .join(volume)
                .join("k")
        };
        let files = |volume: &str| (0..count).map(|n| file(n, volume)).collect();
        Self { shared: files("shared"), own: files("own") }
    }
}

/// Waits until each file holds this; how long after its own write.
fn until_all_show(case: &Case<'_>, files: &[PathBuf], value: &str, since: &[Instant]) -> Vec<Duration> {
    let mut took = vec![None; files.len()];
    let look = || {
        for ((file, since), took) in files.iter().zip(since).zip(&mut took) {
            if took.is_none() && std::fs::read_to_string(file).is_ok_and(|found| found == value) {
                *took = Some(since.elapsed());
            }
        }
        let left = took.iter().filter(|took| took.is_none()).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} files do not hold {value}")) }
    };
    case.agent.until("the change in every file", Instant::now(), Duration::from_secs(30), look);
    took.into_iter().flatten().collect()
}

/// The one of these of which 99 of 100 are no longer.
fn p99(took: &mut [Duration]) -> Duration {
    took.sort();
    took[(took.len() * 99).div_ceil(100) - 1]
}

/// From the API server's answer to a write to the bytes in the file on the node.
pub(crate) fn changes_reach_many_pods_within_two_seconds(cluster: &ControlPlane) {
    let (few, all) = PODS;
    let whole = std::env::var_os("PINNACE_TEST_ALL").is_some();
    let count = if whole { all } else { few };
    if !whole {
        say(&format!("live updates of many pods: scaled, {few} of {all} pods"));
    }
    let case = Case::start(cluster, "live-many");
    let many = Many::start(&case, count);
    let write = |name: &str, value: &str| {
        let path = format!("/api/v1/namespaces/{}/configmaps/{name}", case.namespace.name);
        case.admin.merge(&path, &json!({ "data": { "k": value } })).unwrap();
        Instant::now()
    };
    let (mut shared, mut own) = (Vec::new(), Vec::new());
    for round in 2..ROUNDS + 2 {
        let value = round.to_string();
        let since = vec![write("shared", &value); count];
        shared.extend(until_all_show(&case, &many.shared, &value, &since));
        let since: Vec<_> = (0..count).map(|n| write(&format!("own{n}"), &value)).collect();
        own.extend(until_all_show(&case, &many.own, &value, &since));
    }
    assert_eq!((shared.len(), own.len()), (count * ROUNDS, count * ROUNDS));
    let (shared, own) = (p99(&mut shared), p99(&mut own));
    say(&format!(
        "live updates of {count} pods: p99 {shared:?} of a shared ConfigMap, {own:?} of each one's own"
    ));
    assert!(shared <= LIMIT && own <= LIMIT, "{shared:?} {own:?}");
    case.agent.a80_was_never_refused();
}
