//! The journal's two files, `snapshot.json` and `log.jsonl`: reading them at start, appending, compacting.
//!
//! Everything here blocks. One owner: the writer. No crash between any two calls to the disk loses an entry that
//! was reported as written: an append is cut back to the last good length before the next one, and a log is
//! replaced only after the snapshot that contains it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::Damage;
use super::history::{Entry, Histories, apply};
use super::record::{self, Skipped};
use crate::disk::Disk;

/// Longest file that is read back. A snapshot holds a spec of some 10 KiB per pod, so this is far above any node.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Below this a log is not worth a snapshot; smaller in unit tests, which compact in each of many runs.
pub(super) const MIN_COMPACT_BYTES: u64 = if cfg!(test) { 16 << 10 } else { 1 << 20 };
/// Damaged files kept for a look; the oldest gives way.
const MAX_QUARANTINED: usize = 8;

/// Why something is not in the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// A call to the disk failed.
    #[error("failed to {verb} journal file {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// A record has no JSON form.
    #[error("failed to encode journal record")]
    Encode(#[source] Arc<serde_json::Error>),
    /// The disk gave no answer in time; the entries may still be written.
    #[error("failed to sync journal in time")]
    Timeout,
    /// The writer has ended.
    #[error("failed to record: journal is closed")]
    Closed,
}

/// The open files. Only ever in one place: the writer, or a blocking thread that works for it.
pub(super) struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    epoch: u64,
    /// Length of the log up to its last whole record.
    log_bytes: u64,
    snapshot_bytes: u64,
    /// The log has bytes after `log_bytes`.
    torn: bool,
    /// The files cannot be continued: the next write replaces both.
    stale: bool,
}

/// What a node knows when it starts.
pub(super) struct Found {
    pub(super) store: Store,
    pub(super) histories: Histories,
    /// What an operator should be told, in sentences without a full stop.
    pub(super) reports: Vec<String>,
}

impl Store {
    /// Reads what is there. Nothing that it finds keeps a node from starting: what cannot be used is set aside
    /// and reported.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Found {
        let store = Self { disk, dir, epoch: 0, log_bytes: 0, snapshot_bytes: 0, torn: false, stale: false };
        let mut found = Found { store, histories: Histories::new(), reports: Vec::new() };
        let snapshot_epoch = found.read_snapshot();
        found.read_log(snapshot_epoch);
        found.save_what_was_damaged();
        found
    }

    /// The next write should be [`Store::rewrite`].
    pub(super) fn wants_rewrite(&self) -> bool {
        self.stale || self.log_bytes > MIN_COMPACT_BYTES.max(self.snapshot_bytes.saturating_mul(2))
    }

    /// Appends and syncs. After a failure the same entries may be given again.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        let bytes = record::entries(entries).map_err(encode_error)?;
        let log = self.log();
        if self.torn {
            self.disk.truncate(&log, self.log_bytes).map_err(|e| file_error("truncate", &log, e))?;
        }
        self.torn = true;
        self.disk.append(&log, &bytes, true).map_err(|e| file_error("append to", &log, e))?;
        self.torn = false;
        self.log_bytes = self.log_bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Writes a snapshot of everything and begins a new log.
    pub(super) fn rewrite(&mut self, histories: &Histories) -> Result<(), JournalError> {
        let epoch = self.epoch.saturating_add(1);
        let snapshot = record::snapshot(epoch, histories).map_err(encode_error)?;
        let header = record::log_header(epoch).map_err(encode_error)?;
        let (snapshot_path, log) = (self.snapshot(), self.log());
        self.disk.create_dir_all(&self.dir).map_err(|e| file_error("create", &self.dir, e))?;
        // From here on the old log may be one that is not replayed, even if the call fails half-way:
        // nothing may be appended to it.
        self.stale = true;
        self.epoch = epoch;
        self.disk.replace(&snapshot_path, &snapshot).map_err(|e| file_error("replace", &snapshot_path, e))?;
        self.snapshot_bytes = snapshot.len() as u64;
        self.disk.replace(&log, &header).map_err(|e| file_error("replace", &log, e))?;
        self.log_bytes = header.len() as u64;
        self.torn = false;
        self.stale = false;
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log.jsonl")
    }

    fn snapshot(&self) -> PathBuf {
        self.dir.join("snapshot.json")
    }

    /// A free name beside `path`, after the oldest of too many was removed.
    fn quarantine_name(&self, path: &Path) -> PathBuf {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let siblings = self.disk.list(&self.dir).unwrap_or_default();
        let mut taken: Vec<(u64, PathBuf)> =
            siblings.into_iter().filter_map(|p| Some((bad_number(&p, &stem)?, p))).collect();
        taken.sort_unstable();
        let excess = taken.len().saturating_add(1).saturating_sub(MAX_QUARANTINED);
        for (_, oldest) in taken.iter().take(excess) {
            let _kept_for_a_look = self.disk.remove_file(oldest);
        }
        let next = taken.last().map_or(1, |(number, _)| number.saturating_add(1));
        self.dir.join(format!("{stem}.bad-{next}"))
    }
}

impl Found {
    fn read_snapshot(&mut self) -> Option<u64> {
        let path = self.store.snapshot();
        let bytes = self.read(&path)?;
        self.store.snapshot_bytes = bytes.len() as u64;
        let snapshot = record::read_snapshot(&bytes);
        if snapshot.lost > 0 {
            self.reports.push(format!(
                "journal file {} has {} damaged records",
                path.display(),
                snapshot.lost
            ));
        }
        self.report_skipped(&path, &snapshot.skipped);
        if snapshot.lost > 0 || snapshot.skipped.count > 0 {
            self.copy_aside(&path, &bytes);
        }
        self.histories = snapshot.histories;
        self.store.epoch = snapshot.epoch.unwrap_or(0);
        snapshot.epoch
    }

    fn read_log(&mut self, snapshot_epoch: Option<u64>) {
        let path = self.store.log();
        let Some(bytes) = self.read(&path) else {
            self.store.stale = true;
            return;
        };
        let log = record::read_log(&bytes);
        if log.damage == Some(Damage::Bad) {
            let lost = (bytes.len() as u64).saturating_sub(log.good_bytes);
            self.reports
                .push(format!("journal file {} is damaged, its last {lost} bytes are lost", path.display()));
        }
        self.report_skipped(&path, &log.skipped);
        if log.damage == Some(Damage::Bad) || log.skipped.count > 0 {
            self.copy_aside(&path, &bytes);
        }
        match log.epoch {
            Some(epoch) if snapshot_epoch.is_none_or(|snapshot| epoch >= snapshot) => {
                log.entries.iter().for_each(|entry| apply(&mut self.histories, entry));
                self.store.stale |= snapshot_epoch != Some(epoch);
                self.store.epoch = self.store.epoch.max(epoch);
            }
            // Older than the snapshot, which contains it; or without a header.
            _ => self.store.stale = true,
        }
        self.store.log_bytes = log.good_bytes;
        self.store.torn = log.damage.is_some();
    }

    fn read(&mut self, path: &Path) -> Option<Vec<u8>> {
        match self.store.disk.read(path, MAX_FILE_BYTES) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let aside = self.store.quarantine_name(path);
                let moved = self.store.disk.rename(path, &aside).map_or(" in vain", |()| "");
                self.reports.push(format!(
                    "journal file {} cannot be read ({error}), moved{moved} to {}",
                    path.display(),
                    aside.display()
                ));
                None
            }
        }
    }

    /// A copy and not a rename: until the files are rewritten, the damaged one is the only copy of its good part.
    fn copy_aside(&mut self, path: &Path, bytes: &[u8]) {
        let aside = self.store.quarantine_name(path);
        self.store.stale = true;
        self.reports.push(match self.store.disk.replace(&aside, bytes) {
            Ok(()) => format!("journal file {} was kept as {}", path.display(), aside.display()),
            Err(error) => format!("journal file {} could not be kept aside ({error})", path.display()),
        });
    }

    fn report_skipped(&mut self, path: &Path, skipped: &Skipped) {
        if skipped.count > 0 {
            self.reports.push(format!(
                "journal file {} has {} records that this version does not understand: {}",
                path.display(),
                skipped.count,
                skipped.examples.join("; ")
            ));
        }
    }

    /// What was saved from damaged files goes to disk before anything else. A first start has nothing to save
    /// and leaves its files to the first entry.
    fn save_what_was_damaged(&mut self) {
        if self.store.stale
            && !self.histories.is_empty()
            && let Err(error) = self.store.rewrite(&self.histories)
        {
            self.reports.push(error.with_source());
        }
    }
}

impl JournalError {
    /// The error and its cause in one line, for the journal's condition.
    pub(super) fn with_source(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

fn bad_number(path: &Path, stem: &str) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(stem)?.strip_prefix(".bad-")?.parse().ok()
}

fn file_error(verb: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::File { verb, path: path.to_owned(), source: Arc::new(source) }
}

fn encode_error(source: serde_json::Error) -> JournalError {
    JournalError::Encode(Arc::new(source))
}
