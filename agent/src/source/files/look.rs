//! One look at the directory: lists it and reads what is new. Blocking, hence on a thread of its own.
//!
//! Never opens what is not a regular file, never reads more than one manifest's limit, and reads a file again
//! only when its stamp says that it may have changed.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::libc::{O_CLOEXEC, O_NOCTTY, O_NONBLOCK};

use super::hints::{Hint, Hints};
use super::judge::{Ground, judge};
use super::scan::{Known, Look, Seen, Stamp};
use crate::source::decode::MAX_MANIFEST_BYTES;
use crate::source::desired::Problem;
use crate::source::fnv::Fnv128a;

/// Most manifests that are read. A node runs a few hundred pods at most.
pub(super) const MAX_FILES: usize = 5_000;

/// Most names that are listed: a directory with more is some other directory.
const MAX_NAMES: usize = 50_000;

/// Most names that are no text which are reported.
const MAX_ODD_NAMES: usize = 10;

/// A file that changed so recently may change again within one tick of its time stamp, unseen.
const STAMP_SETTLES: Duration = Duration::from_secs(2);

/// A running pod's file that nobody said is complete is read this long after its last change.
const QUIET: Duration = Duration::from_millis(250);

/// A file whose writer never closes it is read this long after its last change.
const WRITER_LIMIT: Duration = Duration::from_secs(10);

/// All that a look needs.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) ground: Ground,
    pub(super) known: BTreeMap<PathBuf, Known>,
    pub(super) hints: Hints,
    pub(super) wall: Timestamp,
}

impl Directory {
    pub(super) fn look(&self) -> Look {
        let mut problems = Vec::new();
        let paths = match self.paths(&mut problems) {
            Ok(paths) => paths,
            Err(error) => {
                let reason = format!("cannot be read, what runs goes on: {error}");
                return Look::Unreadable(self.problem(reason));
            }
        };
        if paths.len() > MAX_FILES {
            let reason = format!("has {} files, only {MAX_FILES} of them are read", paths.len());
            problems.push(self.problem(reason));
        }
        // Files that were read before come first, so that a flood of new ones displaces none of them.
        let (known, new): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| self.known.contains_key(path));
        let chosen = known.into_iter().chain(new).take(MAX_FILES);
        let files = chosen.filter_map(|path| Some((path.clone(), self.file(&path)?))).collect();
        Look::Read { files, problems }
    }

    fn problem(&self, reason: String) -> Problem {
        Problem { file: self.path.clone(), field: None, reason }
    }

    /// Paths of all that may be a manifest, sorted.
    fn paths(&self, problems: &mut Vec<Problem>) -> io::Result<Vec<PathBuf>> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Ok(vec![self.path.clone()]),
            // A path that was one manifest until now is an absent file, not a missing directory.
            Err(error) if error.kind() == ErrorKind::NotFound && self.known.contains_key(&self.path) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // The path is printed, and kept in the journal as text.
            if name.to_str().is_none_or(|name| name.contains(char::is_control)) {
                if problems.len() < MAX_ODD_NAMES {
                    let reason =
                        format!("has a file whose name is not plain text, which is not read: {name:?}");
                    problems.push(self.problem(reason));
                }
                continue;
            }
            if paths.len() == MAX_NAMES {
                return Err(io::Error::other(format!("more than {MAX_NAMES} files")));
            }
            paths.push(self.path.join(name));
        }
        paths.sort();
        Ok(paths)
    }

    /// What is to be said about one path; nothing if it went away since it was listed.
    fn file(&self, path: &Path) -> Option<Seen> {
        match self.read(path) {
            Ok(seen) => Some(seen),
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => None,
            Err(error) => Some(refused(path, format!("failed to read: {error}"))),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Seen> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            // Not even opened: opening a device or a FIFO can act or block.
            return Ok(refused(path, format!("is {}, expected a regular file", kind(&metadata))));
        }
        let known = self.known.get(path);
        if let Some(stamp) = known.and_then(|known| known.stamp)
            && stamp == Stamp::of(&metadata)
        {
            return Ok(Seen::Same { stamp: Some(stamp) });
        }
        if metadata.len() > MAX_MANIFEST_BYTES {
            return Ok(refused(path, format!("is larger than {MAX_MANIFEST_BYTES} bytes")));
        }
        if let Some(again) = self.busy(path, &metadata) {
            return Ok(Seen::Busy { again });
        }
        let mut file =
            OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_CLOEXEC | O_NOCTTY).open(path)?;
        let (bytes, stamp) = match contents(&mut file)? {
            Some(read) => read,
            None => return Ok(Seen::Busy { again: QUIET }),
        };
        Ok(self.seen(path, &bytes, stamp))
    }

    fn seen(&self, path: &Path, bytes: &[u8], stamp: Stamp) -> Seen {
        let mut digest = Fnv128a::default();
        digest.write(bytes);
        let settled = self.age(&stamp).is_some_and(|age| age >= STAMP_SETTLES);
        let stamp = settled.then_some(stamp);
        if self.known.get(path).and_then(|known| known.digest.as_ref()) == Some(&digest) {
            return Seen::Same { stamp };
        }
        Seen::Judged { stamp, digest: Some(digest), outcome: judge(bytes, path, &self.ground, self.wall) }
    }

    /// How long the file is better left alone, if it is.
    fn busy(&self, path: &Path, metadata: &Metadata) -> Option<Duration> {
        let age = self.age(&Stamp::of(metadata))?;
        let in_use = self.known.get(path).is_some_and(|known| known.in_use);
        let wait = match path.file_name().and_then(|name| self.hints.of(name)) {
            Some(Hint::Complete) => return None,
            Some(Hint::Writing) => WRITER_LIMIT,
            None if in_use => QUIET,
            // A new file is read at once: it can harm no running pod.
            None => return None,
        };
        wait.checked_sub(age).filter(|rest| !rest.is_zero())
    }

    /// Time since the last change; none if that lies far in the future, as after a step of the clock.
    fn age(&self, stamp: &Stamp) -> Option<Duration> {
        let age = self.wall.duration_since(stamp.changed()?);
        // The clock was read a moment before the file was looked at.
        let slightly_ahead = age.is_negative() && age.unsigned_abs() < WRITER_LIMIT;
        if slightly_ahead { Some(Duration::ZERO) } else { Duration::try_from(age).ok() }
    }
}

/// The content and the stamp that belongs to it; none if it changed while it was read.
fn contents(file: &mut File) -> io::Result<Option<(Vec<u8>, Stamp)>> {
    let before = file.metadata()?;
    if !before.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
    let stamp = Stamp::of(&file.metadata()?);
    Ok((Stamp::of(&before) == stamp).then_some((bytes, stamp)))
}

fn refused(path: &Path, reason: String) -> Seen {
    let problem = Problem { file: path.to_owned(), field: None, reason };
    Seen::Judged { stamp: None, digest: None, outcome: Err(vec![problem]) }
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "no file"
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed_second: metadata.ctime(),
            changed_nano: metadata.ctime_nsec(),
        }
    }

    fn changed(&self) -> Option<Timestamp> {
        Timestamp::new(self.changed_second, i32::try_from(self.changed_nano).ok()?).ok()
    }
}

#[cfg(test)]
mod tests;
