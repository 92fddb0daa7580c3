//! What is known of the mirrors: what the watch shows, corrected by the answers that it does not show yet. Pure; moments
//! are milliseconds of the boot clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::plan::{Action, Mirror, as_mirror};

/// An answer that the watch has not confirmed after so long is doubted: what it told of may be gone again.
const BELIEVED_FOR: u64 = 10_000;
/// First pause after an attempt that failed.
const FIRST_PAUSE: u64 = 1_000;
/// Longest pause: a namespace that is made meanwhile is seen after that.
const LONGEST_PAUSE: u64 = 15_000;
/// How long a pod must be absent until its mirror goes.
const CONFIRM: u64 = 1_000;
/// Deletions that are remembered: far more than a node has static pods.
const MAX_DELETED: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct State {
    /// Mirrors that an answer told of, and when.
    told: BTreeMap<String, (Mirror, u64)>,
    /// UIDs of which an answer said that they are gone.
    deleted: BTreeSet<String>,
    /// Attempts that failed, by name.
    failed: BTreeMap<String, Failed>,
    /// UIDs of mirrors without a pod, and since when.
    absent: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Failed {
    times: u32,
    next: u64,
}

impl State {
    /// The mirrors as they are by all that is known.
    pub(super) fn mirrors(
        &mut self,
        watched: &BTreeMap<String, Arc<Pod>>,
        now: u64,
    ) -> BTreeMap<String, Mirror> {
        let shown = |pod: &Arc<Pod>| as_mirror(pod);
        let seen: BTreeMap<_, _> =
            watched.iter().filter_map(|(name, pod)| Some((name.clone(), shown(pod)?))).collect();
        let uids: BTreeSet<&str> = seen.values().map(|mirror| mirror.uid.as_str()).collect();
        self.deleted.retain(|uid| uids.contains(uid.as_str()));
        let deleted = &self.deleted;
        let mut all: BTreeMap<String, Mirror> =
            seen.into_iter().filter(|(_, mirror)| !deleted.contains(&mirror.uid)).collect();
        self.told.retain(|name, (_, at)| !all.contains_key(name) && now.saturating_sub(*at) < BELIEVED_FOR);
        for (name, (mirror, _)) in &self.told {
            all.insert(name.clone(), mirror.clone());
        }
        all
    }

    /// An answer showed this mirror.
    pub(super) fn is_there(&mut self, name: &str, mirror: Mirror, now: u64) {
        self.failed.remove(name);
        self.told.insert(name.to_owned(), (mirror, now));
    }

    /// An answer said that this mirror is gone.
    pub(super) fn is_gone(&mut self, name: &str, uid: &str) {
        self.failed.remove(name);
        if self.told.get(name).is_some_and(|(mirror, _)| mirror.uid == uid) {
            self.told.remove(name);
        }
        if self.deleted.len() < MAX_DELETED {
            self.deleted.insert(uid.to_owned());
        }
    }

    /// An attempt failed. One that could not reach the API server is made again soon, so that the mirrors are right
    /// a second after it is back.
    pub(super) fn has_failed(&mut self, name: &str, unreachable: bool, asked: Option<Duration>, now: u64) {
        let failed = self.failed.entry(name.to_owned()).or_insert(Failed { times: 0, next: 0 });
        let doubled =
            FIRST_PAUSE.saturating_mul(2u64.saturating_pow(failed.times.min(10))).min(LONGEST_PAUSE);
        let pause = if unreachable { FIRST_PAUSE } else { doubled };
        let asked = asked.map_or(0, |asked| u64::try_from(asked.as_millis()).unwrap_or(u64::MAX));
        failed.times = failed.times.saturating_add(1);
        failed.next = now.saturating_add(pause.max(asked));
    }

    /// Time until something may be tried for this name.
    pub(super) fn pause(&self, name: &str, now: u64) -> Duration {
        let next = self.failed.get(name).map_or(0, |failed| failed.next);
        Duration::from_millis(next.saturating_sub(now))
    }

    /// Time until an answer is doubted, if there is one that the watch has not confirmed.
    pub(super) fn doubt_in(&self, now: u64) -> Option<Duration> {
        let next = self.told.values().map(|(_, at)| at.saturating_add(BELIEVED_FOR)).min()?;
        Some(Duration::from_millis(next.saturating_sub(now)))
    }

    /// Time until a mirror without a pod counts as one: nothing is deleted on a single absence, since the pod may be on
    /// its way from one list to another.
    pub(super) fn confirmed_in(&mut self, uid: &str, now: u64) -> Duration {
        let since = *self.absent.entry(uid.to_owned()).or_insert(now);
        Duration::from_millis(since.saturating_add(CONFIRM).saturating_sub(now))
    }

    /// Forgets what was noted of names of which nothing is planned any more.
    pub(super) fn only(&mut self, planned: &BTreeMap<String, Action>) {
        self.failed.retain(|name, _| planned.contains_key(name));
        let removals = planned.values().filter_map(|action| match action {
            Action::Remove { uid } => Some(uid.as_str()),
            Action::Create { .. } | Action::Renew { .. } => None,
        });
        let removals: BTreeSet<&str> = removals.collect();
        self.absent.retain(|uid, _| removals.contains(uid.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn watched(uid: &str) -> BTreeMap<String, Arc<Pod>> {
        let pod =
            json!({ "metadata": { "uid": uid, "annotations": { "kubernetes.io/config.mirror": "h" } } });
        [("ns/web".to_owned(), Arc::new(serde_json::from_value(pod).unwrap()))].into()
    }

    fn uid(state: &mut State, watched: &BTreeMap<String, Arc<Pod>>, now: u64) -> Option<String> {
        state.mirrors(watched, now).remove("ns/web").map(|mirror| mirror.uid)
    }

    #[test]
    fn answers_are_ahead_of_the_watch_and_give_way_to_it() {
        let mut state = State::default();
        let none = BTreeMap::new();
        state.is_gone("ns/web", "m1");
        assert_eq!(uid(&mut state, &watched("m1"), 0), None, "the watch lags");
        let made = Mirror { uid: "m2".into(), hash: "h".into(), leaving: false };
        state.is_there("ns/web", made.clone(), 0);
        assert_eq!(uid(&mut state, &watched("m1"), 0).as_deref(), Some("m2"));
        assert_eq!(uid(&mut state, &watched("m3"), 1).as_deref(), Some("m3"), "the watch is ahead");
        state.is_there("ns/web", made, 2);
        assert_eq!(uid(&mut state, &none, BELIEVED_FOR).as_deref(), Some("m2"));
        assert_eq!(uid(&mut state, &none, BELIEVED_FOR + 2), None, "never confirmed");
    }

    #[test]
    fn pauses_grow_unless_the_server_is_away() {
        let mut state = State::default();
        for expected in [1, 2, 4, 8, 15, 15] {
            state.has_failed("ns/web", false, None, 0);
            assert_eq!(state.pause("ns/web", 0), Duration::from_secs(expected));
        }
        state.has_failed("ns/web", true, None, 0);
        assert_eq!(state.pause("ns/web", 0), Duration::from_secs(1));
        state.only(&BTreeMap::new());
        assert_eq!(state.pause("ns/web", 0), Duration::ZERO);
    }
}
