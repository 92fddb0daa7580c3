//! Decides how far apart complete lists may be: as far as the event stream has earned. Pure.
//!
//! A difference that a complete list finds must have been announced by a hint, or be of a pod that somebody asked
//! to look at since the list before. Hints may come a little late. One miss costs the trust for ten minutes, and a
//! stream that never announced anything true has none yet.

use std::collections::BTreeMap;
use std::time::Duration;

use pinnace_cri::id::PodUid;
use tokio::time::Instant;

use crate::health::Stream;

/// Between lists while nothing else is known: the kubelet's relist period (`genericPlegRelistPeriod`).
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// Between lists while the stream is trusted.
pub(crate) const STRETCHED: Duration = Duration::from_secs(5);
/// How long one miss counts.
pub(crate) const DISTRUST: Duration = Duration::from_secs(600);
/// How late a hint may come after the list that shows what it announces.
pub(crate) const LATE: Duration = Duration::from_millis(500);

/// What is known of the stream.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    connected: bool,
    proven: bool,
    distrusted_until: Option<Instant>,
    /// The newest announcement or look request of each pod; older than two lists is forgotten.
    asked: BTreeMap<PodUid, Asked>,
    /// Differences that nobody announced yet, with the time until when that may come.
    unannounced: BTreeMap<PodUid, Instant>,
    /// Begin of the last complete list.
    last_list: u64,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    at: u64,
    by_hint: bool,
}

impl Trust {
    /// The stream was opened or ended.
    pub(crate) fn connected(&mut self, connected: bool) {
        self.connected = connected;
        self.proven = false;
        self.unannounced.clear();
    }

    /// A look was asked for when the sequence stood at `at`.
    pub(crate) fn asked(&mut self, uid: &PodUid, at: u64, by_hint: bool) {
        let late = self.unannounced.remove(uid).is_some();
        self.proven |= late && by_hint;
        let before = self.asked.get(uid).is_some_and(|asked| asked.by_hint);
        self.asked.insert(uid.clone(), Asked { at, by_hint: by_hint || before });
    }

    /// A look found a difference.
    pub(crate) fn found_by_look(&mut self, uid: &PodUid) {
        self.proven |= self.asked.get(uid).is_some_and(|asked| asked.by_hint);
    }

    /// A complete list that began at `begin` found these pods to differ.
    pub(crate) fn listed(&mut self, begin: u64, differ: &[PodUid], now: Instant) {
        let last = self.last_list;
        for uid in differ {
            let late = now.checked_add(LATE).unwrap_or(now);
            match self.asked.get(uid) {
                Some(asked) => self.proven |= asked.by_hint,
                None if last > 0 && self.connected => {
                    self.unannounced.entry(uid.clone()).or_insert(late);
                }
                None => {}
            }
        }
        self.last_list = begin;
        self.asked.retain(|_, asked| asked.at >= last);
    }

    /// Counts what was not announced in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        let before = self.unannounced.len();
        self.unannounced.retain(|_, until| now < *until);
        if self.unannounced.len() < before {
            self.distrusted_until = Some(now.checked_add(DISTRUST).unwrap_or(now));
            self.proven = false;
        }
    }

    /// When an announcement is overdue next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.unannounced.values().min().copied()
    }

    pub(crate) fn stream(&self, now: Instant) -> Stream {
        let distrusted = self.distrusted_until.is_some_and(|until| now < until);
        match (self.connected, self.proven && !distrusted && self.unannounced.is_empty()) {
            (false, _) => Stream::Absent,
            (true, false) => Stream::Untrusted,
            (true, true) => Stream::Trusted,
        }
    }

    /// How far apart complete lists are at `now`.
    pub(crate) fn period(&self, now: Instant) -> Duration {
        match self.stream(now) {
            Stream::Trusted => STRETCHED,
            Stream::Absent | Stream::Untrusted => PERIOD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven() -> (Trust, PodUid, Instant) {
        let (mut trust, uid, now) = (Trust::default(), PodUid::new("a").unwrap(), Instant::now());
        trust.connected(true);
        trust.listed(1, &[], now);
        trust.asked(&uid, 1, true);
        trust.found_by_look(&uid);
        (trust, uid, now)
    }

    #[test]
    fn an_announced_difference_proves_the_stream() {
        let (mut trust, uid, now) = proven();
        assert_eq!(trust.period(now), STRETCHED);
        trust.listed(3, std::slice::from_ref(&uid), now);
        trust.expire(now + LATE);
        assert_eq!(trust.stream(now + LATE), Stream::Trusted);
    }

    #[test]
    fn one_miss_costs_ten_minutes() {
        let (mut trust, _, now) = proven();
        trust.listed(3, &[PodUid::new("b").unwrap()], now);
        assert_eq!(trust.period(now), PERIOD, "while it is not announced yet");
        let missed = now + LATE;
        trust.expire(missed);
        trust.asked(&PodUid::new("c").unwrap(), 4, true);
        trust.found_by_look(&PodUid::new("c").unwrap());
        assert_eq!(trust.period(missed + DISTRUST - Duration::from_millis(1)), PERIOD);
        assert_eq!(trust.period(missed + DISTRUST), STRETCHED);
    }

    #[test]
    fn a_late_hint_is_no_miss() {
        let (mut trust, _, now) = proven();
        let late = PodUid::new("b").unwrap();
        trust.listed(3, std::slice::from_ref(&late), now);
        trust.asked(&late, 3, true);
        trust.expire(now + LATE);
        assert_eq!(trust.stream(now + LATE), Stream::Trusted);
    }

    #[test]
    fn own_looks_excuse_but_prove_nothing() {
        let (mut trust, uid, now) = (Trust::default(), PodUid::new("a").unwrap(), Instant::now());
        trust.connected(true);
        trust.listed(1, &[], now);
        trust.asked(&uid, 1, false);
        trust.found_by_look(&uid);
        trust.listed(2, &[uid], now);
        trust.expire(now + LATE);
        assert_eq!((trust.stream(now), trust.next()), (Stream::Untrusted, None));
    }
}
