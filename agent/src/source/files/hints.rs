//! What inotify said about files since the last look: who is being written, who is complete.
//!
//! Hints only choose between "read now" and "wait a moment"; without them a file is read a little later.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The last word about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// Somebody wrote to it and has not closed it.
    Writing,
    /// It was closed after writing, or moved here whole.
    Complete,
}

/// Hints by file name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hints {
    by_name: BTreeMap<OsString, Hint>,
}

/// Most names that are remembered: as many as there can be manifests. One more is only read later.
const MAX_NAMES: usize = super::look::MAX_FILES;

impl Hints {
    pub(super) fn note(&mut self, name: &OsStr, hint: Hint) {
        if self.by_name.len() < MAX_NAMES || self.by_name.contains_key(name) {
            self.by_name.insert(name.to_owned(), hint);
        }
    }

    /// A file that is gone is written by nobody.
    pub(super) fn forget(&mut self, name: &OsStr) {
        self.by_name.remove(name);
    }

    pub(super) fn of(&self, name: &OsStr) -> Option<Hint> {
        self.by_name.get(name).copied()
    }

    /// The hints for one look. Files that are being written stay noted until they are closed.
    pub(super) fn take(&mut self) -> Self {
        let taken = self.clone();
        self.by_name.retain(|_, hint| *hint == Hint::Writing);
        taken
    }
}
