//! Decides what a list or a status answer means for the objects of one kind in one pod. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::health::Oddities;
use crate::object::{Absence, Held, Need, Object, Step};

/// The objects of one kind in one pod, by id.
pub(crate) type Shelf<O> = BTreeMap<<O as Object>::Id, Held<O>>;

/// What taking in a list did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Something differs from before.
    pub(crate) changed: bool,
    /// Objects that this list was the first to leave out.
    pub(crate) vanished: usize,
    /// The list was overruled by a later observation.
    pub(crate) disputed: bool,
}

impl Taken {
    /// Whether the list said something new.
    pub(crate) fn differs(self) -> bool {
        self.changed || self.vanished > 0
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            changed: self.changed || other.changed,
            vanished: self.vanished.saturating_add(other.vanished),
            disputed: self.disputed || other.disputed,
        }
    }
}

/// What a status answer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Taken in, or no longer wanted.
    Done,
    /// Older than what is known: ask again.
    AskAgain,
    /// Cannot be right.
    Wrong(&'static str),
}

/// Takes in the records of one list that began at `begin`, which must be newer than any list before.
pub(crate) fn take_list<O: Object>(
    shelf: &mut Shelf<O>,
    listed: &[&Arc<O>],
    begin: u64,
    order: &mut u64,
    odd: &mut Oddities,
) -> Taken {
    let mut taken = Taken::default();
    let mut present = BTreeSet::new();
    for record in listed {
        if !present.insert(record.id()) {
            continue;
        }
        match shelf.get_mut(record.id()) {
            Some(held) => take_record(held, record, begin, &mut taken, odd),
            None => {
                *order = order.saturating_add(1);
                shelf.insert(record.id().clone(), Held::new(Arc::clone(record), *order, begin));
                taken.changed = true;
            }
        }
    }
    shelf.retain(|id, held| {
        if present.contains(id) {
            return true;
        }
        if held.seen > begin {
            taken.disputed = true;
            return true;
        }
        let stays = take_absence(held, begin, &mut taken);
        taken.changed |= !stays;
        stays
    });
    taken
}

fn take_record<O: Object>(
    held: &mut Held<O>,
    record: &Arc<O>,
    begin: u64,
    taken: &mut Taken,
    odd: &mut Oddities,
) {
    if matches!(held.need, Need::Confirmation(_)) {
        held.drop_stale_status();
    }
    if Arc::ptr_eq(&held.record, record) || held.record == *record {
        return;
    }
    match O::step(held.record.state(), record.state()) {
        Step::Backward | Step::Either if held.seen > begin => taken.disputed = true,
        Step::Backward => odd.backwards = odd.backwards.saturating_add(1),
        step => {
            held.record = Arc::clone(record);
            held.seen = held.seen.max(begin);
            taken.changed = true;
            if step != Step::Same {
                held.drop_stale_status();
            }
        }
    }
}

/// Whether it stays for now.
fn take_absence<O: Object>(held: &mut Held<O>, begin: u64, taken: &mut Taken) -> bool {
    match &mut held.need {
        Need::Confirmation(absence) => {
            absence.again |= begin > absence.since;
            absence.held &= !absence.again;
            !(absence.again && absence.erred)
        }
        need => {
            *need = Need::Confirmation(Absence { since: begin, again: false, erred: false, held: false });
            taken.vanished = taken.vanished.saturating_add(1);
            true
        }
    }
}

/// Takes in a status that was asked for at `begin`; `covered` is the begin of the pod's newest list.
pub(crate) fn take_status<O: Object>(
    shelf: &mut Shelf<O>,
    id: &O::Id,
    answer: Option<Arc<O::Status>>,
    begin: u64,
    covered: u64,
    odd: &mut Oddities,
) -> Outcome {
    let Some(held) = shelf.get_mut(id) else { return Outcome::Done };
    held.asked = false;
    let Some(status) = answer else { return take_not_found(shelf, id, begin, covered) };
    let (answered, state) = O::answered(&status);
    if answered != id {
        return Outcome::Wrong("the answer is about another object");
    }
    let newest = begin > covered.max(held.seen);
    match O::step(held.record.state(), state) {
        Step::Same => {}
        Step::Backward if newest => return Outcome::Wrong("the status shows an earlier state than the list"),
        Step::Backward => return Outcome::AskAgain,
        Step::Either if !newest => return Outcome::AskAgain,
        Step::Either | Step::Forward => held.record = Arc::new(held.record.with_state(state)),
    }
    if let Need::Confirmation(absence) = held.need {
        if begin <= absence.since {
            return Outcome::AskAgain;
        }
        odd.missed_by_list = odd.missed_by_list.saturating_add(1);
    }
    held.seen = held.seen.max(begin);
    held.status = Some(status);
    held.need = Need::Nothing;
    Outcome::Done
}

fn take_not_found<O: Object>(shelf: &mut Shelf<O>, id: &O::Id, begin: u64, covered: u64) -> Outcome {
    let gone = match shelf.get(id).map(|held| held.need) {
        Some(Need::Confirmation(absence)) => begin > absence.since,
        Some(Need::Inspection | Need::Nothing) => begin > covered,
        None => return Outcome::Done,
    };
    if !gone {
        return Outcome::AskAgain;
    }
    shelf.remove(id);
    Outcome::Done
}

/// Takes in that a status call failed. An object that two lists left out is gone then.
pub(crate) fn take_failure<O: Object>(shelf: &mut Shelf<O>, id: &O::Id) {
    let Some(held) = shelf.get_mut(id) else { return };
    held.asked = false;
    if let Need::Confirmation(absence) = &mut held.need {
        absence.erred = true;
        if absence.again {
            shelf.remove(id);
        }
    }
}

/// Makes the objects that the list at `begin` was the first to leave out wait for a second list.
pub(crate) fn hold_vanished<O: Object>(shelf: &mut Shelf<O>, begin: u64) {
    for held in shelf.values_mut() {
        if let Need::Confirmation(absence) = &mut held.need {
            absence.held |= absence.since == begin;
        }
    }
}

/// Whether nothing on the shelf waits for an answer.
pub(crate) fn settled<O: Object>(shelf: &Shelf<O>) -> bool {
    shelf.values().all(|held| held.need == Need::Nothing)
}
