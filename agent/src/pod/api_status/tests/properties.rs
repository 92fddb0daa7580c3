//! What holds for every course of events.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::PodStatus;
use pinnace_cri::container::ContainerState;
use pinnace_cri::sandbox::SandboxState;
use proptest::prelude::*;
use serde_json::json;

use super::super::is_terminal;
use super::world::{World, container, says, stamp};
use crate::journal::history::{PodHistory, TerminationCause};
use crate::pod::plan::{Rest, Wait};

#[derive(Debug, Clone)]
enum Event {
    Runs(u8),
    Ends(u8, i32),
    Remembers(u8, i32),
    RuntimeForgets(u8),
    BacksOff(bool),
    Sandbox(bool),
    Terminates,
    Over,
    AgentForgets,
}

fn event() -> impl Strategy<Value = Event> {
    let which = 0..2_u8;
    prop_oneof![
        4 => which.clone().prop_map(Event::Runs),
        4 => (which.clone(), 0..2_i32).prop_map(|(which, code)| Event::Ends(which, code)),
        2 => (which.clone(), 0..2_i32).prop_map(|(which, code)| Event::Remembers(which, code)),
        1 => which.prop_map(Event::RuntimeForgets),
        2 => any::<bool>().prop_map(Event::BacksOff),
        2 => any::<bool>().prop_map(Event::Sandbox),
        1 => Just(Event::Terminates),
        1 => Just(Event::Over),
        1 => Just(Event::AgentForgets),
    ]
}

fn name(which: u8) -> &'static str {
    if which == 0 { "a" } else { "b" }
}

/// Lets something happen that can happen: an instance runs once, under a number that was never used.
fn happen(world: &mut World, next: &mut [u32; 2], codes: &mut BTreeMap<(u8, u32), i32>, event: &Event) {
    match event {
        Event::Runs(which) => {
            let attempt = next[usize::from(*which)];
            let alive = world.seen.as_ref().and_then(|seen| seen.newest_container(name(*which)));
            if alive.is_none_or(|alive| alive.record.state == ContainerState::Exited) {
                world.runs(name(*which), attempt);
                next[usize::from(*which)] += 1;
            }
        }
        Event::Ends(which, code) | Event::Remembers(which, code) => {
            let Some(attempt) = next[usize::from(*which)].checked_sub(1) else { return };
            let code = *codes.entry((*which, attempt)).or_insert(*code);
            world.remembers_end(name(*which), attempt, code);
            if matches!(event, Event::Ends(..)) {
                world.instance(name(*which), attempt, ContainerState::Exited, code);
            } else if let Some(seen) = &mut world.seen {
                seen.containers.retain(|known| known.record.name != name(*which));
            }
        }
        Event::RuntimeForgets(which) => {
            if let Some(seen) = &mut world.seen {
                seen.containers.retain(|known| known.record.name != name(*which));
            }
        }
        Event::BacksOff(yes) => {
            let wait = Wait::until("restart container a", "the back-off", Duration::from_secs(3));
            world.face.waits = yes.then_some(wait).into_iter().collect();
        }
        Event::Sandbox(up) => {
            let state = if *up { SandboxState::Ready } else { SandboxState::NotReady };
            world.sandbox(state, if *up { &["10.0.0.9"] } else { &[] });
        }
        Event::Terminates => {
            world.terminates(TerminationCause::Removed);
        }
        Event::Over => {
            if world.face.history.termination.is_some() {
                world.seen = None;
                world.face.rest = Rest::Vanished;
            }
        }
        Event::AgentForgets => {
            let kept = world.face.history.termination.clone();
            world.face.history =
                PodHistory { started: Some(stamp(0)), termination: kept, ..PodHistory::default() };
        }
    }
}

fn told_ends(status: &PodStatus) -> BTreeMap<String, i32> {
    let all = status.container_statuses.iter().flatten();
    let ends =
        all.flat_map(|of| [&of.state, &of.last_state]).flatten().filter_map(|state| state.terminated.clone());
    ends.filter_map(|end| Some((end.container_id?, end.exit_code))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn i2_i3_ends_and_terminal_phases_never_change_and_counts_never_fall(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        events in prop::collection::vec(event(), 1..30),
    ) {
        let containers = json!([{ "name": "b", "image": "i" }, { "name": "a", "image": "i" }]);
        let mut world = World::new(json!({ "restartPolicy": policy, "containers": containers }));
        let (mut next, mut codes) = ([0, 0], BTreeMap::new());
        let mut before: Option<PodStatus> = None;
        let mut ends = BTreeMap::new();
        for (second, event) in (1..).zip(&events) {
            happen(&mut world, &mut next, &mut codes, event);
            let new = world.status(before.as_ref(), second);
            prop_assert_eq!(&world.status(Some(&new), second + 1), &new, "giving it back changes it: {:?}", event);
            for (id, code) in told_ends(&new) {
                prop_assert_eq!(*ends.entry(id.clone()).or_insert(code), code, "the end of {} changed", id);
            }
            if let Some(before) = &before {
                let phase = before.phase.clone().unwrap();
                prop_assert!(!is_terminal(&phase) || new.phase.as_ref() == Some(&phase), "terminal is for ever");
                for name in ["a", "b"] {
                    prop_assert!(container(&new, name).restart_count >= container(before, name).restart_count);
                }
            }
            let ready = says(&new, "Ready").0 == "True";
            prop_assert!(!(ready && is_terminal(new.phase.as_deref().unwrap())), "done and ready");
            prop_assert!(!ready || new.container_statuses.iter().flatten().all(|of| of.ready));
            before = Some(new);
        }
    }
}
