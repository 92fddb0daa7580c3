//! Decides from one look after another which pods are desired, and which objects there are for them.
//!
//! A file that cannot be used keeps the generation that it had. A file that is gone is believed only when a
//! second look, at least [`ABSENCE`] later, does not see it either. While the directory cannot be read nothing
//! changes at all. Of several files that want one name the one whose pod is already there stays, else the
//! first by name; and likewise with ConfigMaps and Secrets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::judge::Good;
use super::origin;
use crate::clock::{self, Now};
use crate::objects::manifests::Found;
use crate::source::desired::{Desired, DesiredPod, Problem};
use crate::source::fnv::Fnv128a;
use crate::source::static_pod::same_manifest;

mod claims;
mod data;

/// How long a file must have been gone before its pod is given up: longer than any editor needs between
/// removing the old file and moving the new one in place.
pub(super) const ABSENCE: Duration = Duration::from_millis(250);

/// How soon a directory that could not be read is tried again.
const UNREADABLE: Duration = Duration::from_secs(2);

/// Names one version of a file's content without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Seconds of the last change of content or inode. It cannot be set back, in contrast to the mtime.
    pub(super) changed_second: i64,
    pub(super) changed_nano: i64,
}

/// What one look saw.
#[derive(Debug)]
pub(super) enum Look {
    /// The directory could not be listed.
    Unreadable(Problem),
    /// Every file that is there.
    Read { files: BTreeMap<PathBuf, Seen>, problems: Vec<Problem> },
}

/// What one look saw of one file.
#[derive(Debug)]
pub(super) enum Seen {
    /// The content of the last look.
    Same { stamp: Option<Stamp> },
    /// Somebody is writing to it, or may be; look again after so long.
    Busy { again: Duration },
    /// New content, and what it wants. Without a stamp the next look reads it again.
    Judged { stamp: Option<Stamp>, digest: Option<Fnv128a>, outcome: Result<Good, Vec<Problem>> },
}

/// What a look must know of a file that was there before.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) stamp: Option<Stamp>,
    pub(super) digest: Option<Fnv128a>,
    /// A pod runs by it.
    pub(super) in_use: bool,
}

/// One file through time.
#[derive(Debug, Clone, Default)]
struct Record {
    stamp: Option<Stamp>,
    digest: Option<Fnv128a>,
    /// The newest generation that could be used.
    good: Option<Good>,
    /// What is wrong with the present content.
    problems: Vec<Problem>,
    presence: Presence,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Presence {
    #[default]
    There,
    Busy {
        again: Duration,
    },
    GoneSince(clock::Stamp),
}

/// Everything that is kept from look to look.
#[derive(Debug, Default)]
pub(super) struct State {
    records: BTreeMap<PathBuf, Record>,
    /// Which file a full name belongs to.
    owners: BTreeMap<String, PathBuf>,
    /// ConfigMaps and Secrets.
    data: data::Data,
    readable: bool,
    desired: Arc<Desired>,
}

impl State {
    /// The state of a start: nothing read yet, and the pods that were admitted before are still wanted.
    pub(super) fn admitted(pods: Vec<Arc<DesiredPod>>) -> Self {
        let mut records = BTreeMap::new();
        for pod in pods {
            let path = origin(&pod).to_owned();
            records.insert(path, Record { good: Some(Good::Pod(pod)), ..Record::default() });
        }
        let claims = claims::settle(&records, &BTreeMap::new());
        let desired = Desired { pods: claims.pods, problems: claims.problems, ..Desired::default() };
        let data = data::Data::default();
        Self { records, owners: claims.owners, data, readable: true, desired: Arc::new(desired) }
    }

    pub(super) fn desired(&self) -> &Arc<Desired> {
        &self.desired
    }

    /// ConfigMaps and Secrets of all files; none before the first look.
    pub(super) fn objects(&self) -> Option<Found> {
        self.desired.synced.then(|| Arc::clone(&self.data.found))
    }

    /// What the next look needs to know.
    pub(super) fn known(&self) -> BTreeMap<PathBuf, Known> {
        let known = |record: &Record| Known {
            stamp: record.stamp,
            digest: record.digest.clone(),
            in_use: record.good.is_some(),
        };
        self.records.iter().map(|(path, record)| (path.clone(), known(record))).collect()
    }

    /// How soon to look again without waiting for an event or the next rescan.
    pub(super) fn look_again(&self, now: &Now) -> Option<Duration> {
        let unreadable = (!self.readable).then_some(UNREADABLE);
        let soon = self.records.values().filter_map(|record| match &record.presence {
            Presence::There => None,
            Presence::Busy { again } => Some(*again),
            Presence::GoneSince(since) => Some(ABSENCE.saturating_sub(now.since(since, ABSENCE))),
        });
        soon.chain(unreadable).min()
    }
}

/// The state after a look.
pub(super) fn decide(before: &State, look: Look, now: &Now) -> State {
    let (records, mut problems, readable) = match look {
        Look::Unreadable(problem) => (believed_there(&before.records), vec![problem], false),
        Look::Read { files, problems } => (records(&before.records, files, now), problems, true),
    };
    let claims = claims::settle(&records, &before.owners);
    problems.extend(records.values().flat_map(broken));
    problems.extend(claims.problems);
    let data = data::settle(&records, &before.data);
    problems.extend(data.problems.iter().cloned());
    let synced = before.desired.synced || readable;
    let desired = Desired { synced, pods: claims.pods, problems, ..Desired::default() };
    State { records, owners: claims.owners, data, readable, desired: Arc::new(desired) }
}

/// An absence that could not be watched all along is no absence.
fn believed_there(records: &BTreeMap<PathBuf, Record>) -> BTreeMap<PathBuf, Record> {
    let there = |record: &Record| Record { presence: Presence::There, ..record.clone() };
    records.iter().map(|(path, record)| (path.clone(), there(record))).collect()
}

fn records(
    before: &BTreeMap<PathBuf, Record>,
    files: BTreeMap<PathBuf, Seen>,
    now: &Now,
) -> BTreeMap<PathBuf, Record> {
    let absent = before.iter().filter(|(path, _)| !files.contains_key(*path));
    let mut records: BTreeMap<PathBuf, Record> =
        absent.filter_map(|(path, record)| Some((path.clone(), gone(record, now)?))).collect();
    for (path, seen) in files {
        let record = seen_again(before.get(&path), seen);
        records.insert(path, record);
    }
    records
}

/// A record whose file is not there: none once that is certain, or where nothing depends on it.
fn gone(record: &Record, now: &Now) -> Option<Record> {
    record.good.as_ref()?;
    let since = match &record.presence {
        Presence::GoneSince(since) => since.clone(),
        Presence::There | Presence::Busy { .. } => now.stamp(),
    };
    let certain = now.since(&since, ABSENCE) >= ABSENCE;
    (!certain).then(|| Record { presence: Presence::GoneSince(since), ..record.clone() })
}

fn seen_again(before: Option<&Record>, seen: Seen) -> Record {
    let before = before.cloned().unwrap_or_default();
    match seen {
        Seen::Same { stamp } => Record { stamp, presence: Presence::There, ..before },
        Seen::Busy { again } => Record { stamp: None, presence: Presence::Busy { again }, ..before },
        Seen::Judged { stamp, digest, outcome } => {
            let (good, problems) = match outcome {
                Ok(good) => (Some(newest(before.good, good)), Vec::new()),
                Err(problems) => (before.good, problems),
            };
            Record { stamp, digest, good, problems, presence: Presence::There }
        }
    }
}

fn newest(before: Option<Good>, read: Good) -> Good {
    match (before, read) {
        (Some(Good::Pod(before)), Good::Pod(read)) => Good::Pod(newer(before, read)),
        (Some(before), read) if before == read => before,
        (_, read) => read,
    }
}

/// The same manifest is the same pod, with the time at which it was first seen and the defaults that it was
/// admitted with; only what holds it is judged by the version of the agent that runs now.
fn newer(before: Arc<DesiredPod>, read: Arc<DesiredPod>) -> Arc<DesiredPod> {
    match before {
        before if same_manifest(&before, &read) && before.held == read.held => before,
        before if same_manifest(&before, &read) => {
            Arc::new(DesiredPod { held: read.held.clone(), ..DesiredPod::clone(&before) })
        }
        _ => read,
    }
}

/// The problems of a file, with what becomes of the pod that it described before.
fn broken(record: &Record) -> impl Iterator<Item = Problem> {
    let stays = record.good.is_some();
    record.problems.iter().cloned().map(move |mut problem| {
        if stays {
            problem.reason.push_str("; the last good version stays");
        }
        problem
    })
}

#[cfg(test)]
mod tests;
