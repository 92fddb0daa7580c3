//! The planner against a model of the runtime: steps are applied as the runtime would, observations are exact.

mod model;
mod play;

use pinnace_cri::container::ContainerState;
use proptest::prelude::*;

use super::*;
use crate::source::example::pod;
use play::{Fault, Play};

#[test]
fn the_table_of_policies_and_ends() {
    let table = [
        ("Always", 0, None),
        ("Always", 7, None),
        ("OnFailure", 0, Some(true)),
        ("OnFailure", 7, None),
        ("Never", 0, Some(true)),
        ("Never", 7, Some(false)),
    ];
    for (policy, code, terminal) in table {
        let mut play = Play::new(pod(policy, &["a"]));
        play.until("runs", |play, plan| play.running() == 1 && plan.rest == Rest::Settled);
        play.model.end(|_| true, code);
        match terminal {
            None => play.until("restarted", |play, plan| play.running() == 1 && plan.rest == Rest::Settled),
            Some(_) => play.until("at its end", |_, plan| plan.rest == Rest::Settled),
        }
        let said = play.mind.history.terminal.as_ref().map(|terminal| terminal.succeeded);
        assert_eq!(said, terminal, "{policy} {code}");
        play.leave();
    }
}

/// A sandbox that dies between the create and the start of an instance takes that with it: it can never be started.
#[test]
fn an_instance_that_was_never_started_goes_with_its_sandbox() {
    let mut play = Play::new(pod("Always", &["a"]));
    // Sandbox and image work, the start stops half-way.
    play.until("a sandbox", |play, _| play.model.sandboxes.len() == 1 && play.model.containers.is_empty());
    play.faults.push_back(Fault::Half { in_doubt: false });
    play.until("an instance", |play, _| !play.model.containers.is_empty());
    assert_eq!(play.model.containers[0].record.state, ContainerState::Created);
    let id = play.model.sandboxes[0].record.id.clone();
    play.model.down(&id);
    play.until("runs", |play, plan| play.running() == 1 && plan.rest == Rest::Settled);
    assert_eq!(play.model.containers.len(), 1);
    assert_eq!(play.model.containers[0].record.attempt, 0, "what never ran is no restart");
    play.leave();
}

#[derive(Debug, Clone)]
enum Event {
    Exit(usize, i32),
    SandboxDies,
    Passes(usize),
    Restart,
    Fault(Fault),
    Alone(bool),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Refused),
        any::<bool>().prop_map(|effect| Fault::Lost { effect }),
        (1u32..12).prop_map(Fault::Late),
        (1u32..12).prop_map(Fault::Slow),
        any::<bool>().prop_map(|in_doubt| Fault::Half { in_doubt }),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0usize..3, prop_oneof![Just(0), Just(1), Just(137)])
            .prop_map(|(which, code)| Event::Exit(which, code)),
        Just(Event::SandboxDies),
        (1usize..12).prop_map(Event::Passes),
        Just(Event::Restart),
        fault().prop_map(Event::Fault),
        fault().prop_map(Event::Fault),
        any::<bool>().prop_map(Event::Alone),
    ];
    proptest::collection::vec(event, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens to it, a pod comes to rest with what its policy says running, and leaves nothing in the end.
    #[test]
    fn every_history_converges_and_every_termination_ends(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        count in 1usize..4,
        events in events(),
    ) {
        let names = ["a", "b", "c"];
        let names = &names[..count];
        let mut play = Play::new(pod(policy, names));
        for event in events {
            match event {
                Event::Exit(which, code) => {
                    play.model.end(|container| names.get(which).is_some_and(|name| container.name == *name), code);
                }
                Event::SandboxDies => {
                    let newest = play.model.sandboxes.iter().max_by_key(|seen| seen.record.attempt);
                    if let Some(id) = newest.map(|seen| seen.record.id.clone()) {
                        play.model.down(&id);
                    }
                }
                Event::Passes(count) => (0..count).for_each(|_| drop(play.pass())),
                Event::Restart => play.restart(),
                Event::Fault(fault) => play.faults.push_back(fault),
                Event::Alone(alone) => play.alone = alone,
            }
        }
        play.alone = true;
        play.mend();
        play.until("at rest", |_, plan| plan.rest == Rest::Settled);
        prop_assert!(policy != "Always" || play.running() == count, "{} of {count} run", play.running());
        play.leave();
    }
}
