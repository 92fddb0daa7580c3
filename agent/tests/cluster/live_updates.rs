//! ConfigMaps and Secrets change while pods run that show them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::text;
use crate::case::{Case, pod};
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
