//! Drafts against a scripted truth: observations of it may be taken in late and in any order.

use std::collections::BTreeMap;

use pinnace_cri::container::Container;
use pinnace_cri::sandbox::SandboxState;
use proptest::prelude::*;

use super::*;
use crate::fake::{cid, container, container_status, sandbox, sandbox_status, uid};

/// What the runtime holds at one moment.
#[derive(Debug, Clone, Default)]
struct Truth(BTreeMap<ContainerId, Arc<Container>>, Sandboxes);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Sandboxes {
    #[default]
    None,
    Up,
    Down,
}

impl Truth {
    fn listing(&self) -> Listing {
        let sandboxes = match self.1 {
            Sandboxes::None => vec![],
            Sandboxes::Up => vec![sandbox("a", 0, SandboxState::Ready)],
            Sandboxes::Down => vec![sandbox("a", 0, SandboxState::NotReady)],
        };
        Listing { sandboxes, containers: self.0.values().cloned().collect() }
    }

    fn status(&self, target: &Target) -> Status {
        match target {
            Target::Sandbox(_) => {
                Status::Sandbox(self.listing().sandboxes.first().map(|one| Arc::new(sandbox_status(one))))
            }
            Target::Container(id) => {
                Status::Container(self.0.get(id).map(|one| Arc::new(container_status(one, 5))))
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Create(u32),
    Advance(usize),
    Remove(usize),
    Sandbox(u8),
    BeginList,
    BeginLook,
    /// A list that leaves out one container, or everything.
    BeginPartial(usize),
    StartInspections,
    /// The answer at this place of those under way arrives.
    Arrive(usize),
    /// It is an error.
    Fail(usize),
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u32..6).prop_map(Step::Create),
        any::<usize>().prop_map(Step::Advance),
        any::<usize>().prop_map(Step::Remove),
        (0u8..3).prop_map(Step::Sandbox),
        Just(Step::BeginList),
        Just(Step::BeginLook),
        Just(Step::StartInspections),
        any::<usize>().prop_map(Step::Arrive),
        any::<usize>().prop_map(Step::Arrive),
        any::<usize>().prop_map(Step::Fail),
        Just(Step::Commit),
    ]
}

enum Flight {
    List(Listing),
    Look(Listing),
    Status(Inspection, Status),
}

/// A world in which observations are made of the truth of their moment and arrive when the script says.
struct World {
    truth: Truth,
    /// Lists leave nothing out.
    honest: bool,
    /// Ids are never used twice.
    made: BTreeSet<ContainerId>,
    drafts: Drafts,
    snapshot: Snapshot,
    flights: Vec<(u64, Flight)>,
    /// The complete list that arrived last.
    last_list: Option<Listing>,
    sequence: u64,
    now: Instant,
    /// The truth after each change, with the sequence at which whoever made it would wait for a newer observation.
    history: Vec<(u64, Truth)>,
    /// What a reader of events alone believes.
    believed: BTreeMap<ContainerId, ContainerState>,
}

impl World {
    fn new() -> Self {
        Self {
            truth: Truth::default(),
            honest: true,
            made: BTreeSet::new(),
            drafts: Drafts::default(),
            snapshot: Snapshot::default(),
            flights: Vec::new(),
            last_list: None,
            sequence: 0,
            now: Instant::now(),
            history: vec![(0, Truth::default())],
            believed: BTreeMap::new(),
        }
    }

    fn play(&mut self, step: &Step) {
        self.now += std::time::Duration::from_millis(700);
        match step {
            Step::Create(attempt) => {
                let made = container("a", "c", *attempt, ContainerState::Created);
                if self.made.insert(made.id.clone()) {
                    self.truth.0.insert(made.id.clone(), made);
                }
            }
            Step::Advance(place) => {
                if let Some(one) = pick(&mut self.truth.0, *place) {
                    let next = match one.state {
                        ContainerState::Created => ContainerState::Running,
                        _ => ContainerState::Exited,
                    };
                    *one = Arc::new(Container { state: next, ..(**one).clone() });
                }
            }
            Step::Remove(place) => {
                if let Some(id) = pick(&mut self.truth.0, *place).map(|one| one.id.clone()) {
                    self.truth.0.remove(&id);
                }
            }
            Step::Sandbox(state) => {
                self.truth.1 = [Sandboxes::None, Sandboxes::Up, Sandboxes::Down][*state as usize];
            }
            Step::BeginList if self.flights.iter().any(|(_, flight)| matches!(flight, Flight::List(_))) => {}
            Step::BeginList => self.launch(Flight::List(self.truth.listing())),
            Step::BeginPartial(_)
                if self.flights.iter().any(|(_, flight)| matches!(flight, Flight::List(_))) => {}
            Step::BeginPartial(place) => {
                let mut listing = self.truth.listing();
                let left_out = place % listing.containers.len().saturating_add(1);
                if left_out < listing.containers.len() {
                    listing.containers.remove(left_out);
                } else {
                    listing = Listing::default();
                }
                self.launch(Flight::List(listing));
            }
            Step::BeginLook => self.launch(Flight::Look(self.truth.listing())),
            Step::StartInspections => {
                for wanted in self.drafts.start_wanted(self.now, 3, 1) {
                    let status = self.truth.status(&wanted.target);
                    self.launch(Flight::Status(wanted, status));
                }
            }
            Step::Arrive(place) => self.land(*place, false),
            Step::Fail(place) => self.land(*place, true),
            Step::Commit => self.commit(),
        }
        if matches!(step, Step::Create(_) | Step::Advance(_) | Step::Remove(_) | Step::Sandbox(_)) {
            self.history.push((self.sequence, self.truth.clone()));
        }
    }

    /// Whether all that was done before what the snapshot calls itself fresh to can be seen in it.
    fn check_freshness(&self) {
        let (fresh, shown) = (self.snapshot.freshness(&uid("a")), self.shown());
        let seen = self.history.iter().rev().find(|(done, _)| *done < fresh || fresh == 0);
        let Some((_, then)) = seen.filter(|_| fresh > 0) else { return };
        for (id, one) in &then.0 {
            let gone_since = !self.truth.0.contains_key(id);
            let as_new = shown.get(id).is_some_and(|state| !is_older(*state, one.state));
            assert!(gone_since || as_new, "{id} is {:?} in a snapshot as fresh as {fresh}", shown.get(id));
        }
        for id in shown.keys() {
            let made_since =
                !self.history.iter().any(|(done, truth)| *done < fresh && truth.0.contains_key(id));
            assert!(made_since || then.0.contains_key(id), "{id} is still in a snapshot as fresh as {fresh}");
        }
    }

    fn launch(&mut self, flight: Flight) {
        self.sequence += 1;
        self.flights.push((self.sequence, flight));
    }

    fn land(&mut self, place: usize, fails: bool) {
        if self.flights.is_empty() {
            return;
        }
        let (begin, flight) = self.flights.remove(place % self.flights.len());
        match flight {
            Flight::List(_) | Flight::Look(_) if fails => {}
            Flight::List(listing) => {
                let same = self.last_list.as_ref() == Some(&listing);
                self.last_list = Some(listing.clone());
                let answer = if same { Listed::Unchanged } else { Listed::Changed(listing) };
                assert!(self.drafts.take_full(answer, begin).is_some());
            }
            Flight::Look(listing) => {
                self.drafts.take_look(&uid("a"), &listing, begin);
            }
            Flight::Status(asked, status) => {
                let answer = if fails { Err("broken".to_owned()) } else { Ok(status) };
                self.drafts.take_status(&asked, answer, begin, self.now);
            }
        }
    }

    fn commit(&mut self) {
        let before = self.snapshot.freshness(&uid("a"));
        for (_, change) in self.drafts.commit(&mut self.snapshot) {
            match change {
                Change::ContainerCreated { id, .. } => self.believed.insert(id, ContainerState::Created),
                Change::ContainerStarted { id, .. } => self.believed.insert(id, ContainerState::Running),
                Change::ContainerDied { id, .. } => self.believed.insert(id, ContainerState::Exited),
                Change::ContainerLost { id, .. } => self.believed.insert(id, ContainerState::Unknown),
                Change::ContainerRemoved { id, .. } => self.believed.remove(&id),
                _ => None,
            };
        }
        assert!(self.snapshot.freshness(&uid("a")) >= before, "freshness went back");
        if self.honest {
            self.check_freshness();
        }
    }

    /// Lets everything arrive, then observes the truth at rest.
    fn settle(&mut self) {
        while !self.flights.is_empty() {
            self.land(0, false);
        }
        for _ in 0..12 {
            self.now += std::time::Duration::from_secs(61);
            self.play(&Step::BeginList);
            self.land(0, false);
            self.play(&Step::StartInspections);
            while !self.flights.is_empty() {
                self.land(0, false);
            }
        }
        self.commit();
    }

    fn shown(&self) -> BTreeMap<ContainerId, ContainerState> {
        let pods = self.snapshot.pods.values();
        pods.flat_map(|pod| &pod.containers).map(|one| (one.record.id.clone(), one.record.state)).collect()
    }
}

fn is_older(state: ContainerState, than: ContainerState) -> bool {
    let age = |state| match state {
        ContainerState::Created => 0,
        ContainerState::Running => 1,
        _ => 2,
    };
    age(state) < age(than)
}

fn pick(all: &mut BTreeMap<ContainerId, Arc<Container>>, place: usize) -> Option<&mut Arc<Container>> {
    let count = all.len().max(1);
    all.values_mut().nth(place % count)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn what_is_shown_becomes_the_truth_whatever_the_order_of_answers(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.play(step);
            prop_assert!(world.snapshot.pods.values().filter(|pod| pod.quarantine.is_none()).all(complete));
        }
        world.settle();
        let truth: BTreeMap<_, _> = world.truth.0.values().map(|one| (one.id.clone(), one.state)).collect();
        prop_assert_eq!(world.shown(), truth);
        let sandboxes: Vec<_> =
            world.snapshot.pods.values().flat_map(|pod| &pod.sandboxes).map(|one| one.record.state).collect();
        let expected: Vec<_> = world.truth.listing().sandboxes.iter().map(|one| one.state).collect();
        prop_assert_eq!(sandboxes, expected);
        prop_assert!(world.snapshot.lagging.is_empty());
        prop_assert!(world.snapshot.pods.values().all(|pod| pod.quarantine.is_none()));
    }

    #[test]
    fn b57_what_exists_stays_shown_whatever_lists_leave_out(
        steps in prop::collection::vec(prop_oneof![step(), any::<usize>().prop_map(Step::BeginPartial)], 0..80),
    ) {
        let mut world = World { honest: false, ..World::new() };
        for step in steps.iter().filter(|step| !matches!(step, Step::Fail(_))) {
            let shown = world.shown();
            world.play(step);
            let now = world.shown();
            for id in shown.keys().filter(|id| world.truth.0.contains_key(*id)) {
                prop_assert!(now.contains_key(id), "{id} vanished at {step:?}");
            }
        }
        world.settle();
        prop_assert_eq!(world.shown().len(), world.truth.0.len());
    }

    #[test]
    fn events_alone_tell_the_same_as_the_snapshot(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        for step in &steps {
            world.play(step);
        }
        world.commit();
        prop_assert_eq!(&world.believed, &world.shown());
        world.settle();
        prop_assert_eq!(&world.believed, &world.shown());
    }
}

/// Whether every status that must be there is, and fits its record.
fn complete(pod: &Arc<PodObserved>) -> bool {
    let containers = pod.containers.iter();
    let mut containers =
        containers.map(|one| one.status.as_ref().map(|status| status.state) == Some(one.record.state));
    let newest = pod.newest_sandbox();
    let newest =
        newest.is_none_or(|one| one.status.as_ref().map(|status| status.state) == Some(one.record.state));
    newest && containers.all(|fits| fits)
}

#[test]
fn a_pod_lags_until_what_changed_is_inspected() {
    let mut world = World::new();
    let a = uid("a");
    world.play(&Step::Create(0));
    world.settle();
    let fresh = world.snapshot.freshness(&a);
    world.play(&Step::Advance(0));
    world.play(&Step::BeginLook);
    world.land(0, false);
    world.commit();
    assert_eq!(world.snapshot.freshness(&a), fresh);
    assert_eq!(world.shown()[&cid("a-c0")], ContainerState::Created);
    world.play(&Step::StartInspections);
    world.land(0, false);
    world.commit();
    assert!(world.snapshot.freshness(&a) > fresh);
    assert_eq!(world.shown()[&cid("a-c0")], ContainerState::Running);
}
