//! Which pod is written next. Pure: times come in.
//!
//! Each pod has one slot, which holds no status: whoever takes it writes the newest one. So the latest wins, and however
//! much changes during an outage, one write per pod follows it.

use std::collections::BTreeMap;
use std::time::Duration;

use pinnace_cri::id::PodUid;
use tokio::time::Instant;

use super::patch::Lane;
use crate::wait::doubled;

/// Writes in flight. With an answer in 20 ms that is 800 writes a second, ten times what a full node needs.
pub(super) const WRITERS: usize = 16;
/// Of these, what only urgent writes may use, so that one of them never waits behind the rest.
const RESERVED: usize = 4;
/// How long what is not urgent is held back. The first change sets the time; those that follow do not move it.
pub(super) const COALESCE: Duration = Duration::from_millis(150);
/// The same for the steps of a start: a little less than a second, so that a pod which takes longer is seen to be made.
pub(super) const STARTING: Duration = Duration::from_millis(900);
/// Delay after the first failure; doubles with each.
const BACKOFF: Duration = Duration::from_millis(200);
/// Longest delay: with one hung request of the same length before it, a status is right 30 s after the API server is back.
const BACKOFF_CAP: Duration = Duration::from_secs(10);
/// Longest delay that the API server may ask for.
const ASKED_CAP: Duration = Duration::from_secs(300);

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is in, or there is nothing to write it to.
    Done,
    /// The object was another than thought, and was read anew.
    Refetched,
    /// It failed.
    Failed,
    /// The API server asked for patience.
    Asked(Duration),
}

#[derive(Debug, Default)]
struct Slot {
    wanted: Option<Wanted>,
    flying: Option<Lane>,
    /// Not to be tried before, and whether that is our own patience.
    held: Option<(Instant, bool)>,
    failures: u32,
    refetches: u32,
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    lane: Lane,
    /// Place in the line.
    place: u64,
    due: Instant,
}

/// Whether a writer is free for each lane.
#[derive(Debug, Clone, Copy)]
struct Room {
    urgent: bool,
    soon: bool,
}

/// All slots.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: BTreeMap<PodUid, Slot>,
    next: u64,
}

impl Slots {
    /// There is something to write. What is wanted already keeps its place unless it became urgent.
    pub(super) fn want(&mut self, uid: &PodUid, lane: Lane, now: Instant) {
        let place = self.next;
        let slot = self.all.entry(uid.clone()).or_default();
        let due = now + patience(lane);
        match &mut slot.wanted {
            Some(wanted) if wanted.lane <= lane => {}
            wanted => {
                let due = wanted.map_or(due, |before| before.due.min(due));
                *wanted = Some(Wanted { lane, place, due });
                self.next = place.saturating_add(1);
            }
        }
    }

    /// There is nothing to write after all.
    pub(super) fn unwant(&mut self, uid: &PodUid) {
        if let Some(slot) = self.all.get_mut(uid) {
            slot.wanted = None;
            if slot.is_blank() {
                self.all.remove(uid);
            }
        }
    }

    /// The pod to write now, if any: urgent ones first, then in line.
    pub(super) fn take(&mut self, now: Instant) -> Option<PodUid> {
        let room = self.room();
        let ready = |slot: &Slot| {
            let wanted = slot.next(room).filter(|wanted| slot.since(wanted) <= now)?;
            Some((wanted.lane, wanted.place))
        };
        let found = self.all.iter().filter_map(|(uid, slot)| Some((ready(slot)?, uid))).min();
        let uid = found.map(|(_, uid)| uid.clone())?;
        let slot = self.all.get_mut(&uid)?;
        slot.flying = slot.wanted.take().map(|wanted| wanted.lane);
        Some(uid)
    }

    fn room(&self) -> Room {
        let flying = || self.all.values().filter_map(|slot| slot.flying);
        let urgent = flying().count() < WRITERS;
        let soon = urgent && flying().filter(|lane| *lane != Lane::Urgent).count() < WRITERS - RESERVED;
        Room { urgent, soon }
    }

    /// A write ended.
    pub(super) fn settle(&mut self, uid: &PodUid, how: Settled, now: Instant) {
        let Some(slot) = self.all.get_mut(uid) else { return };
        slot.flying = None;
        match how {
            Settled::Done => (slot.held, slot.failures, slot.refetches) = (None, 0, 0),
            // Once, at once; a second time in a row somebody else writes faster than we.
            Settled::Refetched if slot.refetches == 0 => (slot.held, slot.refetches) = (None, 1),
            Settled::Refetched | Settled::Failed => {
                slot.failures = slot.failures.saturating_add(1);
                slot.held = Some((now + backoff(slot.failures), true));
            }
            Settled::Asked(patience) => {
                slot.failures = slot.failures.saturating_add(1);
                // A server that always asks for no time at all is not asked at once for ever.
                let patience = patience.clamp(backoff(slot.failures), ASKED_CAP);
                slot.held = Some((now + patience, false));
            }
        }
        if slot.is_blank() {
            self.all.remove(uid);
        }
    }

    /// The API server answers again: what waited by our own patience waits no longer.
    pub(super) fn release(&mut self) {
        for slot in self.all.values_mut() {
            slot.held = slot.held.filter(|(_, own)| !own);
        }
    }

    /// When the next write is due, if time is what it waits for.
    pub(super) fn due(&self) -> Option<Instant> {
        let room = self.room();
        self.all.values().filter_map(|slot| Some(slot.since(&slot.next(room)?))).min()
    }

    /// A pod that nobody knows any more.
    pub(super) fn forget(&mut self, uid: &PodUid) {
        self.all.remove(uid);
    }
}

impl Slot {
    /// What held up the last write holds up the next one, too, so a slot that remembers such a thing is kept.
    fn is_blank(&self) -> bool {
        let idle = self.wanted.is_none() && self.flying.is_none();
        idle && self.held.is_none() && self.failures == 0 && self.refetches == 0
    }

    /// What may be written next as far as writers go.
    fn next(&self, room: Room) -> Option<Wanted> {
        let has_room = |wanted: &Wanted| if wanted.lane == Lane::Urgent { room.urgent } else { room.soon };
        self.wanted.filter(|wanted| self.flying.is_none() && has_room(wanted))
    }

    fn since(&self, wanted: &Wanted) -> Instant {
        self.held.map_or(wanted.due, |(until, _)| wanted.due.max(until))
    }
}

/// How long a write may wait for what follows.
fn patience(lane: Lane) -> Duration {
    match lane {
        Lane::Urgent => Duration::ZERO,
        Lane::Soon => COALESCE,
        Lane::Start => STARTING,
    }
}

fn backoff(failures: u32) -> Duration {
    doubled(BACKOFF, failures, BACKOFF_CAP)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uid(n: usize) -> PodUid {
        PodUid::new(&format!("u{n}")).unwrap()
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_urgent_waits_a_moment_and_then_goes_in_line() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        slots.want(&uid(2), Lane::Soon, now);
        slots.want(&uid(1), Lane::Soon, now);
        slots.want(&uid(2), Lane::Soon, now + millis(100));
        assert_eq!((slots.take(now + millis(149)), slots.due()), (None, Some(now + COALESCE)));
        assert_eq!(slots.take(now + COALESCE), Some(uid(2)), "a later change does not move it");
        slots.want(&uid(3), Lane::Urgent, now + COALESCE);
        slots.want(&uid(1), Lane::Urgent, now + COALESCE);
        assert_eq!(slots.take(now + COALESCE), Some(uid(3)));
        assert_eq!(slots.take(now + COALESCE), Some(uid(1)));
        slots.want(&uid(1), Lane::Urgent, now + COALESCE);
        assert_eq!(slots.take(now + COALESCE), None, "one write of a pod at a time");
        slots.settle(&uid(1), Settled::Done, now + COALESCE);
        assert_eq!(slots.take(now + COALESCE), Some(uid(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_longer_and_never_holds_up_what_is_worth_telling() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        for (n, since) in [(1, 0), (2, 100), (3, 800)] {
            slots.want(&uid(n), Lane::Start, now);
            slots.want(&uid(n), Lane::Soon, now + millis(since));
        }
        slots.want(&uid(4), Lane::Start, now);
        let dues = std::iter::from_fn(|| {
            let due = slots.due()?;
            Some((slots.take(due)?, (due - now).as_millis()))
        });
        let dues: Vec<_> = dues.collect();
        assert_eq!(dues, [(uid(1), 150), (uid(2), 250), (uid(3), 900), (uid(4), 900)]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_the_servers_word_is_obeyed() {
        let (mut slots, mut now) = (Slots::default(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..8 {
            slots.want(&uid(1), Lane::Urgent, now);
            now = slots.due().unwrap().max(now);
            assert_eq!(slots.take(now), Some(uid(1)));
            slots.settle(&uid(1), Settled::Failed, now);
            slots.want(&uid(1), Lane::Urgent, now);
            delays.push((slots.due().unwrap() - now).as_millis());
        }
        assert_eq!(delays, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        slots.release();
        assert_eq!(slots.take(now), Some(uid(1)), "the server answers again");
        slots.settle(&uid(1), Settled::Asked(Duration::from_secs(30)), now);
        slots.want(&uid(1), Lane::Urgent, now);
        slots.unwant(&uid(1));
        slots.want(&uid(1), Lane::Urgent, now);
        slots.release();
        assert_eq!(slots.due(), Some(now + Duration::from_secs(30)), "its own word stands");
    }

    #[tokio::test(start_paused = true)]
    async fn no_patience_asked_for_is_no_storm() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        slots.want(&uid(1), Lane::Urgent, now);
        slots.take(now);
        slots.settle(&uid(1), Settled::Asked(Duration::ZERO), now);
        slots.want(&uid(1), Lane::Urgent, now);
        assert_eq!(slots.due(), Some(now + BACKOFF));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refetch_is_free_once() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        for due in [now, now + BACKOFF] {
            slots.want(&uid(1), Lane::Urgent, now);
            slots.take(due).unwrap_or_else(|| uid(0));
            slots.settle(&uid(1), Settled::Refetched, now);
        }
        slots.want(&uid(1), Lane::Urgent, now);
        assert_eq!(slots.due(), Some(now + BACKOFF));
    }

    proptest! {
        #[test]
        fn urgent_ones_always_find_room_and_none_is_lost(
            wants in prop::collection::vec((0..40_usize, any::<bool>()), 1..120),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let now = runtime.block_on(async { Instant::now() });
            let mut slots = Slots::default();
            let mut wanted = BTreeMap::new();
            for (n, urgent) in wants {
                let lane = if urgent { Lane::Urgent } else { Lane::Soon };
                slots.want(&uid(n), lane, now);
                let least = wanted.entry(n).or_insert(lane);
                *least = lane.min(*least);
            }
            let later = now + STARTING;
            let (mut flying, mut taken) = (Vec::new(), Vec::new());
            while taken.len() < wanted.len() {
                while let Some(next) = slots.take(later) {
                    flying.push(next);
                }
                prop_assert!(!flying.is_empty() && flying.len() <= WRITERS);
                let done = flying.remove(0);
                slots.settle(&done, Settled::Done, later);
                taken.push(done);
            }
            prop_assert_eq!(slots.take(later), None);
            let urgent = wanted.values().filter(|lane| **lane == Lane::Urgent).count();
            // Twelve others at most go while an urgent one waits for nothing but its turn.
            let last = taken.iter().rposition(|uid| {
                wanted.iter().any(|(n, lane)| *lane == Lane::Urgent && *uid == super::tests::uid(*n))
            });
            prop_assert!(last.is_none_or(|last| last < urgent + WRITERS));
        }
    }
}
