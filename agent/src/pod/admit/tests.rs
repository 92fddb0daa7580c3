use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::example;

fn pod(metadata: Value, spec: Value, origin: Origin) -> DesiredPod {
    let mut full = json!({ "containers": [{ "name": "c", "image": "i" }] });
    for (key, value) in spec.as_object().unwrap() {
        full[key] = value.clone();
    }
    let object = json!({ "metadata": metadata, "spec": full });
    DesiredPod { origin, ..example::manifest("u1", "default", "p", object) }
}

fn api(spec: Value) -> DesiredPod {
    pod(json!({}), spec, Origin::Api)
}

fn place() -> Place {
    Place {
        name: "n".to_owned(),
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned()), ("size".to_owned(), "5".to_owned())]),
        taints: Vec::new(),
        is_known: true,
        allocatable: BTreeMap::from([("pods".to_owned(), 2), ("cpu".to_owned(), 1000)]),
        strict_groups: Some(true),
        ..Place::bare("n", 2)
    }
}

fn alone(pod: &DesiredPod) -> Verdict {
    judge(pod, &place(), &[], LABEL_PATIENCE)
}

fn asking(cpu: &str) -> Value {
    json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": cpu } } }] })
}

fn reason(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Reject { reason, .. } => reason,
        Verdict::Admit => "admitted",
        Verdict::Wait { .. } => "waits",
        Verdict::Preempt { .. } => "preempts",
    }
}

#[test]
fn a_plain_pod_is_admitted() {
    assert_eq!(alone(&api(json!({ "nodeName": "n" }))), Verdict::Admit);
}

#[test]
fn refusals_are_in_the_kubelets_words() {
    let os = pod(json!({ "labels": { "kubernetes.io/os": "windows" } }), json!({}), Origin::Api);
    assert_eq!(reason(&alone(&os)), "PodOSSelectorNodeLabelDoesNotMatch");
    assert_eq!(reason(&alone(&api(json!({ "os": { "name": "windows" } })))), "PodOSNotSupported");
    assert_eq!(reason(&alone(&api(json!({ "nodeName": "other" })))), "NodeName");
    let other_zone = api(json!({ "nodeSelector": { "zone": "b" } }));
    let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    assert_eq!(alone(&other_zone), reject("NodeAffinity", message));
    let message = "Node didn't have enough resource: cpu, requested: 1500, used: 0, capacity: 1000";
    assert_eq!(alone(&api(asking("1500m"))), reject("OutOfcpu", message));
}

#[test]
fn beyond25_labels_that_come_late_are_waited_for() {
    let pod = api(json!({ "nodeSelector": { "zone": "b" } }));
    assert_eq!(reason(&judge(&pod, &place(), &[], Duration::from_secs(20))), "waits");
    let unknown = Place { is_known: false, ..place() };
    assert_eq!(reason(&judge(&pod, &unknown, &[], Duration::from_secs(3600))), "waits");
}

#[test]
fn affinity_terms_are_alternatives_and_their_requirements_are_not() {
    let term = |expressions: Value| {
        let required = json!({ "nodeSelectorTerms": expressions });
        api(json!({ "affinity": { "nodeAffinity":
            { "requiredDuringSchedulingIgnoredDuringExecution": required } } }))
    };
    let ask = |key: &str, operator: &str, values: Value| json!({ "key": key, "operator": operator, "values": values });
    let yes = |terms: Value| assert_eq!(alone(&term(terms)), Verdict::Admit);
    let no = |terms: Value| assert_eq!(reason(&alone(&term(terms))), "NodeAffinity");
    yes(json!([{ "matchExpressions": [ask("zone", "In", json!(["a", "b"]))] }]));
    yes(json!([{ "matchExpressions": [ask("none", "Exists", json!([]))] },
               { "matchFields": [ask("metadata.name", "In", json!(["n"]))] }]));
    no(json!([{ "matchExpressions": [ask("zone", "In", json!(["a"])), ask("none", "Exists", json!([]))] }]));
    no(json!([{}]));
    yes(json!([{ "matchExpressions": [ask("size", "Gt", json!(["4"])), ask("size", "Lt", json!(["6"]))] }]));
    no(json!([{ "matchExpressions": [ask("size", "Gt", json!(["5"]))] }]));
    yes(
        json!([{ "matchExpressions": [ask("none", "DoesNotExist", json!([])), ask("zone", "NotIn", json!(["b"]))] }]),
    );
}

#[test]
fn what_is_on_its_way_out_is_waited_for() {
    let (half, other) = (api(asking("600m")), api(asking("600m")));
    let neighbour = |leaving| [Neighbour { pod: &other, leaving }];
    let judged = |leaving| judge(&half, &place(), &neighbour(leaving), LABEL_PATIENCE);
    assert_eq!((reason(&judged(true)), reason(&judged(false))), ("waits", "OutOfcpu"));
    let port =
        || api(json!({ "containers": [{ "name": "c", "ports": [{ "containerPort": 1, "hostPort": 80 }] }] }));
    let (one, other) = (port(), port());
    let judged = |leaving| judge(&one, &place(), &[Neighbour { pod: &other, leaving }], LABEL_PATIENCE);
    assert_eq!((reason(&judged(true)), reason(&judged(false))), ("waits", "NodePorts"));
}

#[test]
fn a_critical_pod_passes_over_amounts_only() {
    let mut spec = asking("800m");
    spec["priority"] = json!(2_000_000_000);
    let other = api(asking("600m"));
    let others = [Neighbour { pod: &other, leaving: false }];
    let judged = |pod: &DesiredPod| judge(pod, &place(), &others, LABEL_PATIENCE);
    assert_eq!(reason(&judged(&api(spec.clone()))), "preempts");
    assert_eq!(reason(&judged(&pod(json!({}), asking("800m"), Origin::File("/m".into())))), "preempts");
    assert_eq!(reason(&judged(&api(asking("800m")))), "OutOfcpu");
    spec["nodeName"] = json!("other");
    assert_eq!(reason(&judged(&api(spec))), "NodeName");
}

#[test]
fn taints_that_expel_count_for_pods_of_the_api_only() {
    let taint = |effect: &str| Taint { key: "k".to_owned(), effect: effect.to_owned(), ..Taint::default() };
    let place = Place { taints: vec![taint("NoSchedule"), taint("NoExecute")], ..place() };
    let judged = |pod: &DesiredPod| judge(pod, &place, &[], LABEL_PATIENCE);
    assert_eq!(reason(&judged(&api(json!({})))), "TaintToleration");
    assert_eq!(judged(&pod(json!({}), json!({}), Origin::File("/m".into()))), Verdict::Admit);
    for toleration in [json!({ "operator": "Exists" }), json!({ "key": "k", "effect": "NoExecute" })] {
        assert_eq!(judged(&api(json!({ "tolerations": [toleration] }))), Verdict::Admit);
    }
}

proptest! {
    /// More room never turns a yes into a no.
    #[test]
    fn more_room_never_refuses(asked in 0i64..3000, used in 0i64..3000, room in 0i64..3000, more in 0i64..3000) {
        let (new, other) = (api(asking(&format!("{asked}m"))), api(asking(&format!("{used}m"))));
        let others = [Neighbour { pod: &other, leaving: false }];
        let judged = |cpu| {
            let mut place = place();
            place.allocatable.insert("cpu".to_owned(), cpu);
            judge(&new, &place, &others, LABEL_PATIENCE)
        };
        if judged(room) == Verdict::Admit {
            prop_assert_eq!(judged(room + more), Verdict::Admit);
        }
    }
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    let context = |context: Value| api(json!({ "securityContext": context }));
    let sysctl = |name: &str| context(json!({ "sysctls": [{ "name": name, "value": "1" }] }));
    assert_eq!(alone(&sysctl("net.ipv4.tcp_syncookies")), Verdict::Admit);
    let message = "forbidden sysctl: \"kernel.msgmax\" not allowlisted";
    assert_eq!(alone(&sysctl("kernel/msgmax")), reject("SysctlForbidden", message));
    let profile = context(json!({ "appArmorProfile": { "type": "RuntimeDefault" } }));
    let message = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
    assert_eq!(alone(&profile), reject("AppArmor", message));
    assert_eq!(alone(&context(json!({ "appArmorProfile": { "type": "Unconfined" } }))), Verdict::Admit);
    let here = Place { app_armor: true, ..place() };
    assert_eq!(judge(&profile, &here, &[], LABEL_PATIENCE), Verdict::Admit);
}

#[test]
fn strict_groups_are_the_runtimes_word() {
    let strict = api(json!({ "securityContext": { "supplementalGroupsPolicy": "Strict" } }));
    let judged = |strict_groups| judge(&strict, &Place { strict_groups, ..place() }, &[], LABEL_PATIENCE);
    assert_eq!(judged(Some(true)), Verdict::Admit);
    assert_eq!(reason(&judged(None)), "waits");
    let message = "SupplementalGroupsPolicy=Strict is not supported in this node";
    assert_eq!(judged(Some(false)), reject("SupplementalGroupsPolicyNotSupported", message));
}

#[test]
fn a44_injected_parameters_are_refused_whatever_is_allowed() {
    let mut allowed = Allowlist::safe(Some((6, 1)));
    allowed.allow("net.*").unwrap();
    let place = Place { sysctls: Arc::new(allowed), ..place() };
    for (name, value) in
        [("net.a", "1+kernel.core_pattern=|/x"), ("net.a", "1\nb"), ("net.a=1", "1"), ("vm.x", "1")]
    {
        let pod = api(json!({ "securityContext": { "sysctls": [{ "name": name, "value": value }] } }));
        assert_eq!(reason(&judge(&pod, &place, &[], LABEL_PATIENCE)), "SysctlForbidden", "{name}={value}");
    }
}
