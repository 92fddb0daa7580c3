//! Properties of the relist as a whole: what it hands out is what a full decode would have said.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::labels::OWNER;

fn labels(uid: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(POD_UID.to_owned(), uid.to_owned())])
}

fn sandbox(id: &str) -> v1::PodSandbox {
    let uid = format!("uid-{id}");
    v1::PodSandbox {
        id: id.into(),
        metadata: Some(v1::PodSandboxMetadata {
            name: "p".into(),
            namespace: "ns".into(),
            uid: uid.clone(),
            attempt: 0,
        }),
        labels: labels(&uid),
        ..Default::default()
    }
}

fn container(id: &str, state: i32) -> v1::Container {
    v1::Container {
        id: id.into(),
        pod_sandbox_id: "s1".into(),
        metadata: Some(v1::ContainerMetadata { name: "c".into(), attempt: 0 }),
        state,
        labels: labels("u"),
        ..Default::default()
    }
}

fn wire(containers: &[v1::Container]) -> Vec<Bytes> {
    vec![v1::ListContainersResponse { containers: containers.to_vec() }.encode_to_vec().into()]
}

fn node() -> Relist {
    Relist::new(Ownership::Node("n1".into()))
}

fn changed(listed: Result<Listed, InvalidRecord>) -> Listing {
    match listed {
        Ok(Listed::Changed(listing)) => listing,
        other => panic!("expected a change, got {other:?}"),
    }
}

#[test]
fn the_first_answer_is_a_change_even_when_it_is_empty() {
    let mut relist = node();
    assert_eq!(changed(relist.absorb(&[], &[])), Listing::default());
    assert_eq!(relist.absorb(&[], &[]), Ok(Listed::Unchanged));
}

#[test]
fn the_order_of_records_and_the_cut_into_pieces_are_no_change() {
    let (a, b) = (container("a", 0), container("b", 1));
    let mut relist = node();
    let first = changed(relist.absorb(&[], &wire(&[a.clone(), b.clone()])));
    assert_eq!(first.containers.len(), 2);
    assert_eq!(relist.absorb(&[], &wire(&[b.clone(), a.clone()])), Ok(Listed::Unchanged));
    let pieces = [wire(std::slice::from_ref(&b)), wire(std::slice::from_ref(&a))].concat();
    assert_eq!(relist.absorb(&[], &pieces), Ok(Listed::Unchanged));
    assert_eq!(relist.absorb(&[], &wire(&[b.clone(), a, b])), Ok(Listed::Unchanged));
}

#[test]
fn what_did_not_change_keeps_its_arc() {
    let mut relist = node();
    let before = changed(relist.absorb(&[], &wire(&[container("a", 0), container("b", 1)])));
    let after = changed(relist.absorb(&[], &wire(&[container("a", 0), container("b", 2)])));
    assert!(Arc::ptr_eq(&before.containers[0], &after.containers[0]));
    assert!(!Arc::ptr_eq(&before.containers[1], &after.containers[1]));
    let gone = changed(relist.absorb(&[], &wire(&[container("b", 2)])));
    assert_eq!(gone.containers.len(), 1);
}

#[test]
fn another_owners_records_are_neither_listed_nor_counted() {
    let mut foreign = container("a", 0);
    foreign.labels.insert(OWNER.into(), "n2".into());
    foreign.pod_sandbox_id.clear();
    let mut unlabelled = container("b", 0);
    unlabelled.labels.clear();
    let listing = changed(node().absorb(&[], &wire(&[foreign, unlabelled, container("c", 0)])));
    assert_eq!((listing.containers.len(), listing.skipped.count), (1, 0));
}

#[test]
fn a70_invalid_and_doubled_records_are_skipped_and_counted() {
    let mut nameless = container("b", 0);
    nameless.metadata = None;
    let list = [nameless, container("a", 1), container("a", 2), container("c", 0)];
    let mut relist = node();
    let listing = changed(relist.absorb(&[], &wire(&list)));
    let ids: Vec<_> = listing.containers.iter().map(|c| (c.id.as_str(), c.state)).collect();
    use crate::container::ContainerState::{Created, Running};
    assert_eq!(ids, [("a", Running), ("c", Created)]);
    assert_eq!(
        (listing.skipped.count, listing.skipped.first.as_str()),
        (2, "container \"b\" has no metadata")
    );
    assert_eq!(relist.absorb(&[], &wire(&list)), Ok(Listed::Unchanged));
}

#[test]
fn a_torn_answer_hands_out_nothing_and_loses_nothing() {
    let mut relist = node();
    changed(relist.absorb(&[], &wire(&[container("a", 0)])));
    let whole = wire(&[container("a", 0), container("b", 0)]);
    let torn = vec![whole[0].slice(..whole[0].len() - 1)];
    assert!(relist.absorb(&[], &torn).is_err());
    let torn_after_b = vec![[&whole[0][..], &[0x0a]].concat().into()];
    assert!(relist.absorb(&[], &torn_after_b).is_err());
    assert_eq!(changed(relist.absorb(&[], &whole)).containers.len(), 2);
    assert!(relist.absorb(&[Bytes::from_static(&[0x0a])], &wire(&[])).is_err());
    assert_eq!(relist.absorb(&[], &whole), Ok(Listed::Unchanged));
}

#[test]
fn an_answer_that_was_not_delivered_comes_again() {
    let mut relist = node();
    let list = wire(&[container("a", 0)]);
    let first = changed(relist.absorb(&[], &list));
    relist.redeliver();
    assert_eq!(changed(relist.absorb(&[], &list)), first);
    assert_eq!(relist.absorb(&[], &list), Ok(Listed::Unchanged));
}

#[test]
fn a70_a_hundred_thousand_containers_are_listed_and_then_unchanged() {
    let records: Vec<_> = (0..100_000).map(|at| container(&format!("c{at}"), 1)).collect();
    let list = wire(&records);
    let mut relist = node();
    assert_eq!(changed(relist.absorb(&[], &list)).containers.len(), 100_000);
    assert_eq!(relist.absorb(&[], &list), Ok(Listed::Unchanged));
}

/// Lists as runtimes make them: few ids, so that records repeat, change and vanish.
fn lists() -> impl Strategy<Value = Vec<Vec<(u8, i32)>>> {
    let list = proptest::collection::btree_map(0_u8..6, 0..3_i32, 0..6);
    proptest::collection::vec(list.prop_map(|list| list.into_iter().collect()), 1..8)
}

proptest! {
    #[test]
    fn a_relist_says_what_a_full_decode_says(lists in lists()) {
        let mut relist = node();
        let mut last = None;
        for list in lists {
            let records: Vec<_> = list.iter().map(|(id, state)| container(&format!("c{id}"), *state)).collect();
            let full: Vec<_> = records.iter().map(|r| Arc::new(Container::try_from(r.clone()).unwrap())).collect();
            match relist.absorb(&[], &wire(&records)).unwrap() {
                Listed::Unchanged => prop_assert_eq!(last.as_ref(), Some(&full)),
                Listed::Changed(listing) => {
                    prop_assert_ne!(last.as_ref(), Some(&full));
                    prop_assert_eq!(&listing.containers, &full);
                }
            }
            last = Some(full);
        }
    }

    #[test]
    fn a70_hostile_bytes_never_panic(answers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..5)) {
        let mut relist = node();
        let pieces: Vec<Bytes> = answers.into_iter().map(Bytes::from).collect();
        for _ in 0..2 {
            let _ = relist.absorb(&pieces, &pieces);
        }
    }

    #[test]
    fn a70_a_valid_list_with_flipped_bytes_never_panics(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = wire(&[container("a", 0), container("b", 1)])[0].to_vec();
        let mut boxes = v1::ListPodSandboxResponse { items: vec![sandbox("s1"), sandbox("s2")] }.encode_to_vec();
        for (at, byte) in flips {
            let (at_a, at_b) = (at.index(bytes.len()), at.index(boxes.len()));
            bytes[at_a] ^= byte;
            boxes[at_b] ^= byte;
        }
        let _ = node().absorb(&[boxes.into()], &[bytes.into()]);
    }
}
