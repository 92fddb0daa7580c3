//! Random patches: the server of the case and a fake of its own must agree on every result.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::fake_api::FakeApi;
use crate::objects::{pod, running};
use crate::wire::Wire;

cases! { random_patches_give_what_the_fake_gives }

/// Enough to meet every directive together with every other; a real server takes about 3 ms for each.
const PATCHES: usize = 300;

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % limit
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick(&mut self, values: &[&str]) -> Value {
        let index = self.below(values.len());
        json!(values[index])
    }
}

fn kind(index: usize) -> String {
    format!("example.com/{}", ["A", "B", "C", "D", "E"][index])
}

/// Conditions to set, to delete, and sometimes the order of all that are named.
fn conditions(random: &mut Random, status: &mut Value) {
    let mut indices: Vec<usize> = (0..5).collect();
    for index in 0..5 {
        let other = random.below(5);
        indices.swap(index, other);
    }
    let (ordered, deleted) = indices.split_at(random.below(5));
    let mut list = Vec::new();
    for index in ordered.iter().filter(|index| (*index + ordered.len()) % 2 == 0) {
        let mut condition = json!({ "type": kind(*index), "status": random.pick(&["True", "False"]) });
        if random.one_in(2) {
            condition["reason"] = if random.one_in(2) { Value::Null } else { random.pick(&["R", "S", ""]) };
        }
        list.push(condition);
    }
    for index in deleted.iter().take(random.below(3)) {
        list.push(json!({ "$patch": "delete", "type": kind(*index) }));
    }
    if random.one_in(8) {
        list.push(json!({ "$patch": "replace" }));
    }
    if random.one_in(2) {
        let order: Vec<Value> = ordered.iter().map(|index| json!({ "type": kind(*index) })).collect();
        status["$setElementOrder/conditions"] = json!(order);
    }
    status["conditions"] = json!(list);
}

fn patch(random: &mut Random) -> Value {
    let mut status = json!({});
    if random.one_in(4) {
        status["phase"] = random.pick(&["Pending", "Running"]);
    }
    for key in ["message", "reason"] {
        if random.one_in(3) {
            status[key] = if random.one_in(3) { Value::Null } else { random.pick(&["a", "b", ""]) };
        }
    }
    if random.one_in(3) {
        let names = ["main", "more"].into_iter().take(random.below(3));
        status["containerStatuses"] = json!(names.map(running).collect::<Vec<_>>());
    }
    if random.one_in(4) {
        let ip = random.pick(&["10.0.0.1", "10.0.0.2"]);
        status["podIP"] = ip.clone();
        status["podIPs"] = json!([{ "$patch": "replace" }, { "ip": ip }]);
    }
    if random.one_in(6) {
        status["startTime"] = random.pick(&["2026-01-02T03:04:05Z", "2026-01-02T03:04:06.5Z"]);
    }
    if !random.one_in(4) {
        conditions(random, &mut status);
    }
    let mut patch = json!({ "status": status });
    if random.one_in(4) {
        let value = if random.one_in(3) { Value::Null } else { random.pick(&["x", "y", ""]) };
        let key = random.pick(&["k", "l"]);
        patch["metadata"] = json!({ "annotations": { key.as_str().unwrap(): value } });
    }
    patch
}

/// What is compared: without nulls, which Go writes for times that are not set, and with conditions by type: where a
/// patch deletes and adds in one list, upstream's order follows from slices that share their memory.
fn compared(pod: &Value) -> Value {
    let mut kept = json!({ "status": pod["status"], "annotations": pod["metadata"]["annotations"] });
    without_nulls(&mut kept);
    if let Some(conditions) = kept.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        conditions.sort_by_key(|condition| condition["type"].to_string());
    }
    kept
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

async fn random_patches_give_what_the_fake_gives(cluster: &Cluster) {
    let fake = FakeApi::new();
    let other = Wire { client: fake.client() };
    other.post("/api/v1/namespaces/default/pods", pod("p", &cluster.node, json!({}))).await.expect(201);
    cluster.pod("p", json!({})).await;
    let mut random = Random(36);
    for turn in 0..PATCHES {
        let patch = patch(&mut random);
        let theirs = cluster.wire.patch(&cluster.path("pods/p/status"), patch.clone()).await;
        let ours = other.patch("/api/v1/namespaces/default/pods/p/status", patch.clone()).await;
        assert_eq!(theirs.code, ours.code, "patch {turn}: {patch}\n{}\n{}", theirs.body, ours.body);
        assert_eq!(compared(&theirs.body), compared(&ours.body), "patch {turn}: {patch}");
    }
}
