//! What a volume's directory holds, and the single changes that are made to it. Values only.
//!
//! Paths are relative to the volume's directory. A change is one step that a crash can come before or after; making
//! a directory or a file with its attributes may also be cut short, and leaves a thing that nothing refers to yet.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes that may be a secret: shown by their number only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opaque(Arc<[u8]>);

impl Opaque {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Opaque {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Opaque {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Opaque {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "<{} bytes>", self.0.len())
    }
}

/// Mode and owner of a file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky, 0 to 07777. Never narrowed by the umask.
    pub mode: u32,
    /// Owner; none leaves whom the agent runs as.
    pub uid: Option<u32>,
    /// Group; none leaves the agent's or, below a directory with setgid, that directory's.
    pub gid: Option<u32>,
}

impl Attributes {
    /// Of whom the agent runs as.
    #[must_use]
    pub fn mode(mode: u32) -> Self {
        Self { mode, uid: None, gid: None }
    }

    /// Whether what was found is what is wanted.
    #[must_use]
    pub fn are_met_by(&self, found: &Self) -> bool {
        let same = |wanted: Option<u32>, found: Option<u32>| wanted.is_none() || wanted == found;
        self.mode == found.mode && same(self.uid, found.uid) && same(self.gid, found.gid)
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory; its entries are entries of the same [`Contents`].
    Directory(Attributes),
    /// A regular file.
    File(Opaque, Attributes),
    /// A symbolic link, by where it leads.
    Link(PathBuf),
    /// Anything else, a mount point among them: never looked into.
    Other,
}

/// Everything beneath a volume's directory; nothing behind a link or a mount point.
pub type Contents = BTreeMap<PathBuf, Node>;

/// One change. No link is followed on the way to any path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes a directory; one that is there is an error.
    MakeDirectory(PathBuf, Attributes),
    /// Writes a new file; one that is there is an error.
    WriteFile(PathBuf, Opaque, Attributes),
    /// Makes a link at the first path that leads to the second; one that is there is an error.
    Link(PathBuf, PathBuf),
    /// Gives what is at the first path the second name, in the place of a file or link of that name.
    Rename(PathBuf, PathBuf),
    /// Removes whatever is there, a directory with all that is in it; but refuses to cross a mount point.
    Remove(PathBuf),
    /// Gives a directory or a regular file these attributes; anything else there is an error.
    SetAttributes(PathBuf, Attributes),
}

/// What a path of the host leads to, all links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// Anything else, such as a pipe.
    Other,
}

/// A file system in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tmpfs {
    /// Most bytes that it takes.
    pub size: u64,
    /// Of its top directory; an owner is not set.
    pub top: Attributes,
    /// Set-uid bits and device nodes in it mean nothing.
    pub hardened: bool,
}

/// A file system in huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HugePages {
    /// Size of a page in bytes.
    pub page: u64,
    /// Most bytes that it takes, rounded up to whole pages; none for as many as the machine has.
    pub limit: Option<u64>,
}

/// A mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub path: PathBuf,
    /// Type of the file system, such as `tmpfs`.
    pub kind: String,
    /// What is mounted lies itself under the path that was asked about: one of its own files, shown twice.
    pub inner: bool,
}

/// A part of a volume and where it is to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubPath {
    /// The volume's directory. Links that lead to it are followed.
    pub volume: PathBuf,
    /// The part, relative to the volume. Links on the way are followed as long as they stay in the volume.
    pub inner: PathBuf,
    /// A mount point of the agent's own, made if it is not there.
    pub target: PathBuf,
}

/// Why a part of a volume is not mounted. The cause may name paths of the node: not for a pod's status.
#[derive(Debug, thiserror::Error)]
pub enum SubPathError {
    /// A directory that is not there could not be made.
    #[error("failed to make the directory")]
    Make(#[source] io::Error),
    /// What is there cannot be used, or lies outside.
    #[error("failed to mount the path")]
    Prepare(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_never_shown() {
        let node = Node::File("c4nary".into(), Attributes::mode(0o600));
        assert!(!format!("{node:?}").contains("c4nary"));
    }
}
