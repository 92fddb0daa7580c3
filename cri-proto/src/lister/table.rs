//! What the records of the last list were, keyed by the hash of their wire bytes.
//!
//! Pure. A record whose bytes were seen in an earlier list costs one hash and one lookup; only new bytes are decoded.
//! The hash is seeded at random in every process, so that nobody can craft two records that it confuses.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::quality::RandomState;

use super::frames::Frames;
use super::record::Record;
use crate::labels::Ownership;
use crate::wire::{InvalidRecord, Skipped};

/// What some wire bytes mean to this node.
#[derive(Debug)]
pub(super) enum Meaning<T> {
    /// A record of one of this node's pods.
    Ours(Arc<T>),
    /// Someone else's, or no pod's.
    Foreign,
    /// Not usable.
    Invalid(Box<InvalidRecord>),
}

#[derive(Debug)]
struct Entry<T> {
    meaning: Meaning<T>,
    /// The pass that saw these bytes last.
    pass: u64,
    /// Where in the answer they stood.
    position: u32,
}

/// The records of one kind.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: HashMap<u64, Entry<T>, BuildHasherDefault<AsIs>>,
    hashes: RandomState,
    pass: u64,
    /// Whether the records differ from those that were handed out last.
    pub(super) dirty: bool,
}

impl<T: Record> Table<T> {
    pub(super) fn new() -> Self {
        Self { entries: HashMap::default(), hashes: RandomState::default(), pass: 0, dirty: true }
    }

    /// Takes in one list, in the pieces that it came in.
    ///
    /// # Errors
    /// If a piece is no list at all; what stood before the error is then taken in, nothing is taken out, and `dirty`
    /// tells if that changed anything.
    pub(super) fn absorb(&mut self, answer: &[Bytes], owned: &Ownership) -> Result<(), InvalidRecord> {
        self.pass = self.pass.wrapping_add(1);
        let mut distinct = 0;
        let mut position = 0_u32;
        for frame in answer.iter().flat_map(|piece| Frames::new(piece)) {
            distinct += usize::from(self.see(frame?, position, owned));
            position = position.saturating_add(1);
        }
        if distinct != self.entries.len() {
            let pass = self.pass;
            self.entries.retain(|_, entry| entry.pass == pass);
            self.dirty = true;
        }
        Ok(())
    }

    /// Notes one record; false if the same bytes stood earlier in the same list.
    fn see(&mut self, frame: &[u8], position: u32, owned: &Ownership) -> bool {
        let mut hasher = self.hashes.build_hasher();
        hasher.write(frame);
        let pass = self.pass;
        let mut new = false;
        let entry = self.entries.entry(hasher.finish()).or_insert_with(|| {
            new = true;
            Entry { meaning: T::read(frame, owned), pass: pass.wrapping_sub(1), position }
        });
        self.dirty |= new;
        let first = entry.pass != pass;
        if first {
            entry.pass = pass;
            entry.position = position;
        }
        first
    }

    /// The records of this node, in order of their ids. Of two with one id the first in the answer stands, the other
    /// is skipped.
    pub(super) fn collect(&self, skipped: &mut Skipped) -> Vec<Arc<T>> {
        let mut ours: Vec<(&Arc<T>, u32)> = Vec::with_capacity(self.entries.len());
        let mut invalid: Vec<(&InvalidRecord, u32)> = Vec::new();
        for entry in self.entries.values() {
            match &entry.meaning {
                Meaning::Ours(record) => ours.push((record, entry.position)),
                Meaning::Foreign => {}
                Meaning::Invalid(why) => invalid.push((why, entry.position)),
            }
        }
        invalid.sort_unstable_by_key(|(_, position)| *position);
        invalid.iter().for_each(|(why, _)| skipped.add(why));
        ours.sort_unstable_by(|(a, at_a), (b, at_b)| (a.id(), at_a).cmp(&(b.id(), at_b)));
        let mut collected: Vec<Arc<T>> = Vec::with_capacity(ours.len());
        for (record, _) in ours {
            match collected.last() {
                Some(last) if last.id() == record.id() => {
                    skipped.add(&InvalidRecord::Duplicate(record.id().to_owned()));
                }
                _ => collected.push(Arc::clone(record)),
            }
        }
        collected
    }
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
