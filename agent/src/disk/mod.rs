//! The file seam: every write of the agent's own goes through [`Disk`], so that a test can stop the process
//! or fail the call at any one of them.

pub mod apart;
mod beneath;
pub mod contents;
mod group;
mod host_path;
mod memory;
mod memory_volume;
mod mounts;
mod real;
mod sub_path;
mod tmpfs;
mod tree;

use std::io;
use std::path::{Path, PathBuf};

use contents::{Attributes, Change, Contents, FileKind, HugePages, Mounted, SubPath, SubPathError, Tmpfs};
pub use memory::{Failing, MemoryDisk};
pub use real::RealDisk;

/// The file operations that the agent performs, all blocking: callers go through a blocking thread.
pub trait Disk: std::fmt::Debug + Send + Sync + 'static {
    /// Makes a directory and its parents with mode 0750; one that exists is success.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Reads a whole file of at most `limit` bytes; a longer one is an error.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;
    /// Appends to a file with mode 0640, made if absent; `sync` also forces the data to the device.
    fn append(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()>;
    /// Makes an empty file that every user may read and write (mode 0666); one that exists keeps its content.
    fn create_public(&self, path: &Path) -> io::Result<()>;
    /// Writes a file in its place, with mode 0644, made if absent: who has it mounted sees the change. A crash may
    /// leave it cut short; nothing is forced to the device.
    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Replaces a file whole: temporary file, sync, rename, sync of the directory.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file to `length` bytes.
    fn truncate(&self, path: &Path, length: u64) -> io::Result<()>;
    /// Renames within one directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file or a symbolic link; an absent one is success.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory tree without following links or crossing into another file system;
    /// an absent one is success, a mount point beneath is an error and nothing under it is touched.
    fn remove_tree(&self, path: &Path) -> io::Result<()>;
    /// Makes `link` point to `target`, replacing a link that is there.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// Paths in a directory, sorted; an absent directory is empty.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Removes an empty directory; an absent one is success.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Everything beneath a volume's directory, following no link and crossing no mount.
    fn contents(&self, root: &Path) -> io::Result<Contents>;
    /// Reads a file of at most `limit` bytes that a pod has written in a volume; none if nothing is there. Links lead
    /// nowhere but into the volume, as if it were all that there is; what is no plain file is an error and not waited for.
    fn read_beneath(&self, root: &Path, inner: &Path, limit: u64) -> io::Result<Option<Vec<u8>>>;
    /// Makes one change beneath a volume's directory, following no link and crossing no mount.
    fn change(&self, root: &Path, change: &Change) -> io::Result<()>;
    /// Mounts a file system in memory over a directory; never swapped out where the kernel has that.
    fn mount_tmpfs(&self, path: &Path, tmpfs: &Tmpfs) -> io::Result<()>;
    /// Mounts a file system in huge pages over a directory, whose attributes are then these.
    fn mount_huge_pages(&self, path: &Path, pages: HugePages, top: &Attributes) -> io::Result<()>;
    /// Mounts a part of a volume, of which nothing leads out of the volume; directories that are missing are made with
    /// the volume's mode. May hang as long as the volume's file system does.
    fn bind_sub_path(&self, sub_path: &SubPath) -> Result<(), SubPathError>;
    /// Takes the newest mount off a directory; what still uses it goes on with it, and what is mounted in it is taken
    /// off there and nowhere else.
    fn unmount(&self, path: &Path) -> io::Result<()>;
    /// Mount points that are `path` or lie under it, in the order of mounting. Asks no file system but the one that
    /// `path` is an entry of.
    fn mounts(&self, path: &Path) -> io::Result<Vec<Mounted>>;
    /// Kind of the file system whose root a directory is, as mountinfo names it; none where nothing is mounted on it, or
    /// it is not there. Costs the same however many mounts the machine has.
    fn mounted(&self, path: &Path) -> io::Result<Option<String>> {
        let mounts = self.mounts(path)?;
        Ok(mounts.into_iter().rfind(|mount| mount.path == path).map(|mount| mount.kind))
    }
    /// The mount that a path lies on by its name. Asks no file system, so links on the way are not seen.
    fn mount_of(&self, path: &Path) -> io::Result<Mounted>;
    /// Gives a directory with all beneath it to a group, which may then read and write: files get 0660, directories
    /// setgid and 0770, on top of what they have. Follows no link and crosses no mount. The directory itself comes
    /// last: until then the work is seen to be unfinished.
    fn give_to_group(&self, root: &Path, gid: u32) -> io::Result<()>;
    /// What a path of the host leads to, links followed; none if nothing is there.
    fn kind(&self, path: &Path) -> io::Result<Option<FileKind>>;
    /// Makes a directory of the host's and its parents, mode 0755; one that exists is success.
    fn create_host_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty file of the host's, mode 0644, in a directory that exists; one that exists keeps its content.
    fn create_host_file(&self, path: &Path) -> io::Result<()>;
}
