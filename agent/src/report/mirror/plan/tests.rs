//! The plan by examples, and against a model of the node and the API.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NAME: &str = "ns/web-n1";

fn pod(hash: &str, wanted: bool) -> StaticPod {
    StaticPod { uid: PodUid::new(hash).unwrap(), full_name: NAME.into(), hash: hash.into(), wanted }
}

fn mirror(uid: &str, hash: &str) -> Mirror {
    Mirror { uid: uid.into(), hash: hash.into(), leaving: false }
}

fn check(statics: &[StaticPod], mirror: Option<Mirror>, expected: Option<Action>) {
    let mirrors: BTreeMap<_, _> = mirror.map(|mirror| (NAME.to_owned(), mirror)).into_iter().collect();
    let plan = plan(Input { statics, mirrors: &mirrors, synced: true });
    assert_eq!(plan.get(NAME), expected.as_ref(), "{statics:?} {mirrors:?}");
}

#[test]
fn the_table() {
    let create = |hash| Some(Action::Create { of: PodUid::new(hash).unwrap() });
    let renew = Some(Action::Renew { uid: "m1".into() });
    check(&[pod("a", true)], None, create("a"));
    check(&[pod("a", true)], Some(mirror("m1", "a")), None);
    check(&[pod("b", true)], Some(mirror("m1", "a")), renew.clone());
    check(&[pod("b", true), pod("a", false)], Some(mirror("m1", "a")), None);
    check(&[pod("b", true), pod("a", false)], None, create("b"));
    check(&[pod("a", false)], Some(mirror("m1", "a")), None);
    check(&[pod("a", false)], None, None);
    check(&[], Some(mirror("m1", "a")), Some(Action::Remove { uid: "m1".into() }));
    check(&[pod("a", true)], Some(Mirror { leaving: true, ..mirror("m1", "a") }), renew);
}

#[test]
fn nothing_is_deleted_before_every_source_was_read() {
    let mirrors = [(NAME.to_owned(), mirror("m1", "a"))].into();
    assert!(plan(Input { statics: &[], mirrors: &mirrors, synced: false }).is_empty());
}

#[test]
fn a_mirror_is_what_node_restriction_admits() {
    let manifest = json!({
        "metadata": {
            "name": "web-n1", "namespace": "ns", "uid": "a", "labels": { "app": "web" },
            "annotations": { "kubernetes.io/config.hash": "a", "kubernetes.io/config.source": "file" },
        },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c" }] },
        "status": { "phase": "Running" },
    });
    let node: Node =
        serde_json::from_value(json!({ "metadata": { "name": "n1", "uid": "node-uid" } })).unwrap();
    let pod: Pod = serde_json::from_value(manifest).unwrap();
    let body = body(&pod, &PodUid::new("a").unwrap(), owner(&node).unwrap());
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-n1", "namespace": "ns", "labels": { "app": "web" },
            "annotations": {
                "kubernetes.io/config.hash": "a", "kubernetes.io/config.source": "file",
                "kubernetes.io/config.mirror": "a",
            },
            "ownerReferences": [
                { "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "node-uid", "controller": true },
            ],
        },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c" }] },
    });
    assert_eq!(serde_json::to_value(body).unwrap(), expected);
    let leaving =
        json!({ "metadata": { "name": "n1", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    assert_eq!(owner(&serde_json::from_value(leaving).unwrap()), None);
}

/// What happens to one manifest, its pods and its mirror.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Write(u8),
    Remove,
    TakenDown,
    DeleteGracefully,
    DeleteAtOnce,
    Api(bool),
    Act,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..3u8).prop_map(Happening::Write),
        Just(Happening::Remove),
        Just(Happening::TakenDown),
        Just(Happening::DeleteGracefully),
        Just(Happening::DeleteAtOnce),
        any::<bool>().prop_map(Happening::Api),
        Just(Happening::Act),
        Just(Happening::Act),
    ]
}

#[derive(Debug, Default)]
struct World {
    statics: Vec<StaticPod>,
    mirrors: BTreeMap<String, Mirror>,
    up: bool,
    made: u32,
}

impl World {
    fn input(&self) -> Input<'_> {
        Input { statics: &self.statics, mirrors: &self.mirrors, synced: true }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Write(generation) => {
                self.statics.iter_mut().for_each(|pod| pod.wanted = false);
                let new = pod(&format!("g{generation}"), true);
                self.statics.retain(|pod| pod.hash != new.hash);
                self.statics.push(new);
            }
            Happening::Remove => self.statics.iter_mut().for_each(|pod| pod.wanted = false),
            Happening::TakenDown => self.statics.retain(|pod| pod.wanted),
            Happening::DeleteGracefully => {
                self.mirrors.values_mut().for_each(|mirror| mirror.leaving = true);
            }
            Happening::DeleteAtOnce => self.mirrors.clear(),
            Happening::Api(up) => self.up = up,
            Happening::Act => {}
        }
    }

    /// Carries out what is planned; false if that was nothing.
    fn act(&mut self) -> bool {
        let planned = plan(self.input());
        for (name, action) in &planned {
            match action {
                Action::Create { of } => {
                    self.made += 1;
                    let known =
                        self.mirrors.insert(name.clone(), mirror(&format!("m{}", self.made), of.as_str()));
                    assert_eq!(known, None, "two mirrors of one name");
                }
                Action::Renew { uid } | Action::Remove { uid } => {
                    let gone = self.mirrors.remove(name).unwrap();
                    assert_eq!(gone.uid, *uid);
                    let shown = self.statics.iter().find(|pod| pod.hash == gone.hash);
                    assert!(gone.leaving || shown.is_none(), "the mirror of a pod that is there was deleted");
                }
            }
        }
        !planned.is_empty()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn beyond27_whatever_happens_the_mirror_ends_equal_to_the_manifest(
        course in prop::collection::vec(happening(), 0..60)
    ) {
        let mut world = World { up: true, ..World::default() };
        for happening in course {
            world.happen(happening);
            if world.up && matches!(happening, Happening::Act) {
                world.act();
            }
            for (of, shown) in translation(world.input()) {
                let mirror = &world.mirrors[NAME];
                prop_assert!(mirror.uid == shown.as_str() && mirror.hash == of.as_str(), "status of another pod");
            }
        }
        world.happen(Happening::TakenDown);
        let passes = (0..5).take_while(|_| world.act()).count();
        prop_assert!(passes <= 2, "a deletion and a creation are enough");
        let wanted: Vec<_> = world.statics.iter().map(|pod| pod.hash.as_str()).collect();
        let shown: Vec<_> = world.mirrors.values().map(|mirror| mirror.hash.as_str()).collect();
        prop_assert_eq!(wanted, shown);
        prop_assert!(plan(world.input()).is_empty());
    }
}
