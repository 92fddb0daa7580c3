//! What the journal's two files say: which records a log and a snapshot consist of. Pure.
//!
//! Both begin with a header that carries an epoch. A snapshot of epoch *n* contains every entry of the logs
//! before *n*, and the log of epoch *n* continues it: so a log older than the snapshot is one that a crash
//! kept from being replaced, and must not be replayed.

use pinnace_cri::id::PodUid;
use serde::{Deserialize, Serialize};

use super::frame::{self, Damage};
use super::history::{Entry, Histories, PodHistory};
use crate::source::desired::uid_text;

/// Version of the files that this program writes. A reader of an older version skips what it does not know.
const VERSION: u32 = 1;
/// Examples of records that could not be understood, per file.
const MAX_EXAMPLES: usize = 3;

#[derive(Debug, Serialize, Deserialize)]
struct LogHeader {
    log: u32,
    epoch: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct SnapshotHeader {
    snapshot: u32,
    epoch: u64,
    pods: usize,
}

#[derive(Debug, Serialize)]
struct PodOut<'a> {
    #[serde(with = "uid_text")]
    uid: &'a PodUid,
    history: &'a PodHistory,
}

#[derive(Debug, Deserialize)]
struct PodIn {
    #[serde(with = "uid_text")]
    uid: PodUid,
    history: PodHistory,
}

/// Records that are whole but not understood: written by a newer version, most likely.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) count: usize,
    pub(super) examples: Vec<String>,
}

/// What a log says.
#[derive(Debug)]
pub(super) struct Log {
    /// None when the header itself is missing or damaged; then there are no entries either.
    pub(super) epoch: Option<u64>,
    pub(super) entries: Vec<Entry>,
    pub(super) good_bytes: u64,
    pub(super) damage: Option<Damage>,
    pub(super) skipped: Skipped,
}

/// What a snapshot says. Its pods do not depend on one another, so one bad record costs one pod.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) epoch: Option<u64>,
    pub(super) histories: Histories,
    /// Records that are missing or do not check out.
    pub(super) lost: usize,
    pub(super) skipped: Skipped,
}

impl Skipped {
    fn note(&mut self, error: &serde_json::Error) {
        self.count = self.count.saturating_add(1);
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(error.to_string());
        }
    }
}

/// The first record of a log.
pub(super) fn log_header(epoch: u64) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    push(&LogHeader { log: VERSION, epoch }, &mut out)?;
    Ok(out)
}

/// Records of some entries, to be appended to a log.
pub(super) fn entries(entries: &[Entry]) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    for entry in entries {
        push(entry, &mut out)?;
    }
    Ok(out)
}

/// A whole snapshot file.
pub(super) fn snapshot(epoch: u64, histories: &Histories) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    push(&SnapshotHeader { snapshot: VERSION, epoch, pods: histories.len() }, &mut out)?;
    for (uid, history) in histories {
        push(&PodOut { uid, history }, &mut out)?;
    }
    Ok(out)
}

/// Reads a log.
pub(super) fn read_log(bytes: &[u8]) -> Log {
    let prefix = frame::decode(bytes);
    let mut payloads = prefix.payloads.into_iter();
    let header = payloads.next().and_then(|payload| serde_json::from_slice::<LogHeader>(payload).ok());
    let mut log = Log {
        epoch: header.as_ref().map(|header| header.epoch),
        entries: Vec::new(),
        good_bytes: prefix.good_bytes,
        damage: prefix.damage,
        skipped: Skipped::default(),
    };
    if header.is_none() {
        log.damage = log.damage.or(prefix.good_bytes.gt(&0).then_some(Damage::Bad));
        return log;
    }
    for payload in payloads {
        match serde_json::from_slice(payload) {
            Ok(entry) => log.entries.push(entry),
            Err(error) => log.skipped.note(&error),
        }
    }
    log
}

/// Reads a snapshot.
pub(super) fn read_snapshot(bytes: &[u8]) -> Snapshot {
    let (payloads, mut lost) = frame::salvage(bytes);
    let mut payloads = payloads.into_iter().peekable();
    let header = payloads.peek().and_then(|first| serde_json::from_slice::<SnapshotHeader>(first).ok());
    match &header {
        Some(header) => {
            let _first = payloads.next();
            // Whole records cut off the end leave no bad line behind, only too few pods.
            lost = lost.max(header.pods.saturating_sub(payloads.len()));
        }
        None => lost = lost.max(1),
    }
    let mut snapshot = Snapshot {
        epoch: header.map(|header| header.epoch),
        histories: Histories::new(),
        lost,
        skipped: Skipped::default(),
    };
    for payload in payloads {
        match serde_json::from_slice::<PodIn>(payload) {
            Ok(pod) => drop(snapshot.histories.insert(pod.uid, pod.history)),
            Err(error) => snapshot.skipped.note(&error),
        }
    }
    snapshot
}

fn push(record: &impl Serialize, out: &mut Vec<u8>) -> serde_json::Result<()> {
    frame::encode(&serde_json::to_vec(record)?, out);
    Ok(())
}
