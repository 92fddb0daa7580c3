//! All series, and the lines in which they wait for a write. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::series::{Key, Series};
use crate::events::{Kind, Object};

/// Series that are remembered: nine for each of 220 pods. A series is some 500 bytes, at most 3 KiB.
const MAX_SERIES: usize = 2_000;
/// Series that are forgotten at once when there is no room.
const FORGET_AT_ONCE: usize = 100;
/// A series is forgotten an hour after its last event: so does the API server (`--event-ttl`).
const FORGET_AFTER: u64 = 3_600_000;

/// What a series waits as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    NewWarning,
    NewNormal,
    /// The API is to learn a new count.
    Repeat,
}

/// Place in a line: the moment before which it is not its turn, and the series, the oldest first.
type Place = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Store {
    all: BTreeMap<u64, Series>,
    ids: BTreeMap<Key, u64>,
    next: u64,
    last_number: u64,
    warnings: BTreeSet<Place>,
    normals: BTreeSet<Place>,
    repeats: BTreeSet<Place>,
}

impl Store {
    pub(super) fn find(&self, key: &Key) -> Option<u64> {
        self.ids.get(key).copied()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Series> {
        self.all.get(&id)
    }

    pub(super) fn is_full(&self) -> bool {
        self.all.len() >= MAX_SERIES
    }

    pub(super) fn pending(&self) -> usize {
        self.warnings.len().saturating_add(self.normals.len()).saturating_add(self.repeats.len())
    }

    /// Adds a series, whose key must be new.
    pub(super) fn add(&mut self, mut series: Series) {
        let id = self.next;
        self.next = id.saturating_add(1);
        series.number = self.number(&series);
        self.ids.insert(series.key.clone(), id);
        self.line_up(id, &series);
        self.all.insert(id, series);
    }

    /// Nanoseconds since 1970, later than any before: names then sort as events happened, even within the second to
    /// which the API's timestamps are exact.
    fn number(&mut self, series: &Series) -> u64 {
        let nanos = u64::try_from(series.first_seen().as_nanosecond()).unwrap_or(0);
        self.last_number = nanos.max(self.last_number.saturating_add(1));
        self.last_number
    }

    /// Changes a series and puts it where it now belongs; none if it is gone.
    pub(super) fn change<T>(&mut self, id: u64, change: impl FnOnce(&mut Series) -> T) -> Option<T> {
        let mut series = self.all.remove(&id)?;
        self.step_out(id, &series);
        let result = change(&mut series);
        self.line_up(id, &series);
        self.all.insert(id, series);
        Some(result)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Series> {
        let series = self.all.remove(&id)?;
        self.step_out(id, &series);
        self.ids.remove(&series.key);
        Some(series)
    }

    fn line(&mut self, class: Class) -> &mut BTreeSet<Place> {
        match class {
            Class::NewWarning => &mut self.warnings,
            Class::NewNormal => &mut self.normals,
            Class::Repeat => &mut self.repeats,
        }
    }

    fn line_up(&mut self, id: u64, series: &Series) {
        if let Some(class) = series.class() {
            self.line(class).insert((series.not_before, id));
        }
    }

    fn step_out(&mut self, id: u64, series: &Series) {
        if let Some(class) = series.class() {
            self.line(class).remove(&(series.not_before, id));
        }
    }

    /// The first in a line that may go.
    pub(super) fn first(&self, class: Class, may_go: impl Fn(&Series) -> bool) -> Option<Place> {
        let line = match class {
            Class::NewWarning => &self.warnings,
            Class::NewNormal => &self.normals,
            Class::Repeat => &self.repeats,
        };
        line.iter().find(|(_, id)| self.all.get(id).is_some_and(&may_go)).copied()
    }

    /// Since when the first normal event waits.
    pub(super) fn oldest_normal(&self) -> Option<u64> {
        let (_, id) = self.normals.first()?;
        self.all.get(id).map(|series| series.since)
    }

    /// New normal events that waited for too long: those that a later one of the same object stands in for after
    /// `patience`, and those that nobody needs any more.
    pub(super) fn superseded(&self, patience: u64, now: u64) -> Vec<u64> {
        let mut later: BTreeSet<&Object> = BTreeSet::new();
        let mut gone = Vec::new();
        for (_, id) in self.normals.iter().rev() {
            let Some(series) = self.all.get(id) else { continue };
            let stands_in = !later.insert(&series.key.object);
            if series.is_stale(now) || (stands_in && now.saturating_sub(series.since) >= patience) {
                gone.push(*id);
            }
        }
        gone
    }

    /// Takes out the series that matters least, if there is no room; not one that matters more than a new one of
    /// this type.
    pub(super) fn make_room(&mut self, kind: Kind) -> Option<Series> {
        if !self.is_full() {
            return None;
        }
        self.forget_some();
        if !self.is_full() {
            return None;
        }
        let newcomer = match kind {
            Kind::Normal => 1,
            Kind::Warning => 3,
        };
        let least = self.all.iter().min_by_key(|(_, series)| (series.worth(), series.touched));
        let (id, _) = least.filter(|(_, series)| series.worth() < 4 && series.worth() <= newcomer)?;
        self.remove(*id)
    }

    /// Forgets the series that are written and were quiet longest. Several at once, so that a node full of short-lived
    /// pods does not look through all of them for each new one.
    fn forget_some(&mut self) {
        let written = self.all.iter().filter(|(_, series)| series.worth() == 0);
        let mut quiet: Vec<(u64, u64)> = written.map(|(id, series)| (series.touched, *id)).collect();
        quiet.sort_unstable();
        for (_, id) in quiet.into_iter().take(FORGET_AT_ONCE) {
            self.remove(id);
        }
    }

    /// Forgets what was quiet for long and is written.
    pub(super) fn tidy(&mut self, now: u64) {
        let old = |series: &Series| {
            series.worth() == 0 && now.saturating_sub(series.touched) >= FORGET_AFTER && !series.is_writing()
        };
        let gone: Vec<u64> = self.all.iter().filter(|(_, series)| old(series)).map(|(id, _)| *id).collect();
        for id in gone {
            self.remove(id);
        }
    }
}
