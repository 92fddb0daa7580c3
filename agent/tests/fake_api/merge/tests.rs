//! Patches by example, and what must hold of all of them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{json_merge, strategic_merge};

fn check(kind: &str, mut object: Value, patch: &Value, wanted: &Value) {
    strategic_merge(kind, &mut object, patch).unwrap();
    assert_eq!(object, *wanted, "after {patch}");
}

#[test]
fn conditions_are_merged_by_type_and_foreign_ones_stay() {
    check(
        "Pod",
        json!({ "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": "R" }, { "type": "Mine", "status": "True" }] } }),
        &json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": null }, { "type": "New", "status": "True" }] } }),
        &json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }, { "type": "New", "status": "True" }, { "type": "Mine", "status": "True" }] } }),
    );
}

#[test]
fn container_statuses_are_replaced_as_a_whole() {
    check(
        "Pod",
        json!({ "status": { "containerStatuses": [{ "name": "a", "ready": true }, { "name": "b", "ready": true }] } }),
        &json!({ "status": { "containerStatuses": [{ "name": "a" }] } }),
        &json!({ "status": { "containerStatuses": [{ "name": "a" }] } }),
    );
}

#[test]
fn another_ip_is_added_unless_the_old_one_is_deleted() {
    let held = json!({ "status": { "podIPs": [{ "ip": "10.0.0.1" }] } });
    let both = json!({ "status": { "podIPs": [{ "ip": "10.0.0.2" }, { "ip": "10.0.0.1" }] } });
    check("Pod", held.clone(), &json!({ "status": { "podIPs": [{ "ip": "10.0.0.2" }] } }), &both);
    let swap =
        json!({ "status": { "podIPs": [{ "ip": "10.0.0.1", "$patch": "delete" }, { "ip": "10.0.0.2" }] } });
    check("Pod", held.clone(), &swap, &json!({ "status": { "podIPs": [{ "ip": "10.0.0.2" }] } }));
    let whole = json!({ "status": { "podIPs": [{ "$patch": "replace" }, { "ip": "10.0.0.3" }] } });
    check("Pod", held, &whole, &json!({ "status": { "podIPs": [{ "ip": "10.0.0.3" }] } }));
}

#[test]
fn node_addresses_are_merged_by_type_and_taints_are_replaced() {
    check(
        "Node",
        json!({ "spec": { "taints": [{ "key": "a" }] }, "status": { "addresses": [{ "type": "Hostname", "address": "n" }] } }),
        &json!({ "spec": { "taints": [{ "key": "b" }] }, "status": { "addresses": [{ "type": "Hostname", "address": "m" }, { "type": "InternalIP", "address": "1" }] } }),
        &json!({ "spec": { "taints": [{ "key": "b" }] }, "status": { "addresses": [{ "type": "Hostname", "address": "m" }, { "type": "InternalIP", "address": "1" }] } }),
    );
}

#[test]
fn finalizers_are_a_set() {
    check(
        "Pod",
        json!({ "metadata": { "finalizers": ["a/b", "c/d"] } }),
        &json!({ "metadata": { "finalizers": ["a/b", "e/f"], "$deleteFromPrimitiveList/finalizers": ["c/d"] } }),
        &json!({ "metadata": { "finalizers": ["a/b", "e/f"] } }),
    );
}

#[test]
fn an_order_sorts_the_named_and_keeps_the_others_in_place() {
    check(
        "Pod",
        json!({ "status": { "conditions": [{ "type": "X" }, { "type": "A" }, { "type": "B" }] } }),
        &json!({ "status": { "$setElementOrder/conditions": [{ "type": "B" }, { "type": "A" }], "conditions": [{ "type": "A", "status": "True" }] } }),
        &json!({ "status": { "conditions": [{ "type": "X" }, { "type": "B" }, { "type": "A", "status": "True" }] } }),
    );
}

#[test]
fn an_order_that_the_patch_does_not_keep_is_refused() {
    for list in [json!([{ "type": "A" }, { "type": "B" }]), json!([{ "type": "C" }])] {
        let patch = json!({ "status": { "$setElementOrder/conditions": [{ "type": "B" }, { "type": "A" }], "conditions": list } });
        let error = strategic_merge("Pod", &mut json!({ "status": {} }), &patch).unwrap_err();
        assert!(error.contains("doesn't match $setElementOrder list"), "{error}");
    }
}

#[test]
fn maps_are_merged_deeply_and_null_removes() {
    check(
        "Node",
        json!({ "metadata": { "labels": { "a": "1", "b": "2" } } }),
        &json!({ "metadata": { "labels": { "a": null, "c": "3" } } }),
        &json!({ "metadata": { "labels": { "b": "2", "c": "3" } } }),
    );
}

#[test]
fn retain_keys_drops_the_other_kind_of_a_volume() {
    check(
        "Pod",
        json!({ "spec": { "volumes": [{ "name": "v", "emptyDir": {} }] } }),
        &json!({ "spec": { "volumes": [{ "name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": { "path": "/" } }] } }),
        &json!({ "spec": { "volumes": [{ "name": "v", "hostPath": { "path": "/" } }] } }),
    );
}

#[test]
fn orders_and_nulls_are_not_stored_where_nothing_was() {
    check(
        "Pod",
        json!({ "metadata": {} }),
        &json!({ "status": { "$setElementOrder/conditions": [{ "type": "A" }], "reason": null, "conditions": [{ "type": "A" }, { "type": "B", "$patch": "delete" }] } }),
        &json!({ "metadata": {}, "status": { "conditions": [{ "type": "A" }] } }),
    );
}

#[test]
fn an_element_without_its_key_is_refused() {
    let mut object = json!({ "status": { "conditions": [{ "type": "A" }] } });
    let error =
        strategic_merge("Pod", &mut object, &json!({ "status": { "conditions": [{ "status": "True" }] } }));
    assert!(error.unwrap_err().contains("does not contain declared merge key: type"));
}

#[test]
fn a_json_merge_patch_replaces_every_list() {
    let mut object = json!({ "status": { "conditions": [{ "type": "A" }] }, "keep": 1 });
    json_merge(&mut object, &json!({ "status": { "conditions": [{ "type": "B" }] } }));
    assert_eq!(object, json!({ "status": { "conditions": [{ "type": "B" }] }, "keep": 1 }));
}

fn condition() -> impl Strategy<Value = Value> {
    ("[A-D]", "[TF]").prop_map(|(kind, status)| json!({ "type": kind, "status": status }))
}

fn conditions() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(condition(), 0..5).prop_map(|list| {
        let mut seen: Vec<Value> = Vec::new();
        for item in list {
            if seen.iter().all(|known| known["type"] != item["type"]) {
                seen.push(item);
            }
        }
        seen
    })
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(held in conditions(), given in conditions()) {
        let patch = json!({ "status": { "conditions": given } });
        let mut once = json!({ "status": { "conditions": held } });
        strategic_merge("Pod", &mut once, &patch).unwrap();
        let mut twice = once.clone();
        strategic_merge("Pod", &mut twice, &patch).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn no_type_is_lost_or_doubled_and_the_given_wins(held in conditions(), given in conditions()) {
        let mut object = json!({ "status": { "conditions": held.clone() } });
        strategic_merge("Pod", &mut object, &json!({ "status": { "conditions": given.clone() } })).unwrap();
        let merged = object["status"]["conditions"].as_array().unwrap();
        for kind in ["A", "B", "C", "D"] {
            let of = |list: &[Value]| list.iter().filter(|item| item["type"] == kind).cloned().collect::<Vec<_>>();
            let wanted = if of(&given).is_empty() { of(&held) } else { of(&given) };
            prop_assert_eq!(of(merged), wanted);
        }
    }
}
