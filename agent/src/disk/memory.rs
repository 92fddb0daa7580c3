//! A disk in memory whose calls can be made to fail, for tests of everything that writes through [`Disk`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Disk;
use super::contents::{
    Attributes, Change, Contents, FileKind, HugePages, Mounted, SubPath, SubPathError, Tmpfs,
};
use super::memory_volume::Volumes;

/// A disk in memory. Contents outlive whoever uses it, so a test can open them again as after a crash.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    state: Mutex<State>,
    /// Changing calls hang until it says otherwise.
    hanging: Mutex<bool>,
    released: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) volumes: Volumes,
    /// Changing calls so far.
    changes: u64,
    syncs: u64,
    failing: Option<Failing>,
}

/// How changing calls fail.
#[derive(Debug, Clone, Copy)]
pub struct Failing {
    /// From this changing call on, counted from 0.
    pub from: u64,
    /// So many calls fail.
    pub calls: u64,
    /// What they fail with.
    pub kind: io::ErrorKind,
    /// Bytes of an append or of a replacement's temporary file that are written before it fails.
    pub partial: usize,
    /// A replacement that fails does so after its rename: its effect is there, its success is not known.
    pub after_rename: bool,
}

impl MemoryDisk {
    /// Makes changing calls fail; none mends the disk.
    pub fn set_failing(&self, failing: Option<Failing>) {
        self.lock().failing = failing;
    }

    /// Makes changing calls wait until told otherwise.
    pub fn set_hanging(&self, hanging: bool) {
        *self.hanging.lock().unwrap_or_else(PoisonError::into_inner) = hanging;
        self.released.notify_all();
    }

    /// Changing calls so far, failed ones included.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Appends and replacements that were forced to the device.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Contents of every file.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.lock().files.clone()
    }

    /// Puts a file there, whatever was set to fail.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        self.lock().files.insert(path.to_owned(), bytes.to_vec());
    }

    /// Mounts something of this type there as somebody else would, whatever was set to fail.
    pub fn put_mount(&self, path: &Path, kind: &str) {
        let mut state = self.lock();
        state.directories.extend(path.ancestors().map(Path::to_owned));
        // The directory was just made.
        let _cannot_fail = state.mount(path, kind);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a changing call and says how it fails, if it does.
    fn counted(&self) -> (MutexGuard<'_, State>, Option<Failing>) {
        let hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.released.wait_while(hanging, |hanging| *hanging));
        let mut state = self.lock();
        let number = state.changes;
        state.changes = number.saturating_add(1);
        let failing = state
            .failing
            .filter(|failing| number.checked_sub(failing.from).is_some_and(|nth| nth < failing.calls));
        (state, failing)
    }

    fn simple(&self, change: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        match self.counted() {
            (_, Some(failing)) => Err(failing.kind.into()),
            (mut state, None) => change(&mut state),
        }
    }
}

impl Disk for MemoryDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.simple(|state| {
            state.directories.extend(path.ancestors().map(Path::to_owned));
            Ok(())
        })
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = self.lock().files.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        if bytes.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }

    fn create_public(&self, path: &Path) -> io::Result<()> {
        self.simple(|state| {
            state.files.entry(path.to_owned()).or_default();
            Ok(())
        })
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.simple(|state| {
            state.files.insert(path.to_owned(), bytes.to_vec());
            Ok(())
        })
    }

    fn append(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        let (mut state, failing) = self.counted();
        let written = failing.map_or(bytes.len(), |failing| failing.partial.min(bytes.len()));
        let file = state.files.entry(path.to_owned()).or_default();
        file.extend(bytes.iter().take(written));
        state.syncs = state.syncs.saturating_add(u64::from(sync));
        failing.map_or(Ok(()), |failing| Err(failing.kind.into()))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (mut state, failing) = self.counted();
        if failing.is_none_or(|failing| failing.after_rename) {
            state.files.insert(path.to_owned(), bytes.to_vec());
        }
        state.syncs = state.syncs.saturating_add(1);
        failing.map_or(Ok(()), |failing| Err(failing.kind.into()))
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        self.simple(|state| {
            let file = state.files.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
            file.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.simple(|state| {
            let bytes = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.files.insert(to.to_owned(), bytes);
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.simple(|state| {
            state.files.remove(path);
            state.links.remove(path);
            Ok(())
        })
    }

    /// One that fails has removed as many entries as a failing write would have written bytes.
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        let (mut state, failing) = self.counted();
        match failing {
            None => state.remove_all(path),
            Some(failing) => {
                state.remove_some(path, failing.partial)?;
                Err(failing.kind.into())
            }
        }
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.simple(|state| {
            state.links.insert(link.to_owned(), target.to_owned());
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.lock();
        let all = state.files.keys().chain(state.links.keys()).chain(&state.directories);
        let mut inside: Vec<PathBuf> = all.filter(|known| known.parent() == Some(path)).cloned().collect();
        inside.sort();
        inside.dedup();
        Ok(inside)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.simple(|state| state.remove_empty(path))
    }

    fn contents(&self, root: &Path) -> io::Result<Contents> {
        Ok(self.lock().contents(root))
    }

    fn read_beneath(&self, root: &Path, inner: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.read(&root.join(inner), limit) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn change(&self, root: &Path, change: &Change) -> io::Result<()> {
        let (mut state, failing) = self.counted();
        match failing {
            None => state.change_volume(root, change, None),
            Some(failing) => {
                if failing.partial > 0 {
                    state.change_volume(root, change, Some(failing.partial))?;
                }
                Err(failing.kind.into())
            }
        }
    }

    fn mount_tmpfs(&self, path: &Path, _: &Tmpfs) -> io::Result<()> {
        self.simple(|state| state.mount(path, "tmpfs"))
    }

    fn mount_huge_pages(&self, path: &Path, _: HugePages, _: &Attributes) -> io::Result<()> {
        self.simple(|state| state.mount(path, "hugetlbfs"))
    }

    fn bind_sub_path(&self, sub_path: &SubPath) -> Result<(), SubPathError> {
        self.simple(|state| state.bind(sub_path)).map_err(SubPathError::Prepare)
    }

    fn unmount(&self, path: &Path) -> io::Result<()> {
        self.simple(|state| state.unmount(path))
    }

    fn mounts(&self, path: &Path) -> io::Result<Vec<Mounted>> {
        Ok(self.lock().mounts(path))
    }

    fn mount_of(&self, path: &Path) -> io::Result<Mounted> {
        Ok(self.lock().mount_of(path))
    }

    fn give_to_group(&self, root: &Path, gid: u32) -> io::Result<()> {
        self.simple(|state| state.give_to_group(root, gid))
    }

    fn kind(&self, path: &Path) -> io::Result<Option<FileKind>> {
        let state = self.lock();
        let directory = state.directories.contains(path).then_some(FileKind::Directory);
        Ok(directory.or_else(|| state.files.contains_key(path).then_some(FileKind::File)))
    }

    fn create_host_dir(&self, path: &Path) -> io::Result<()> {
        self.create_dir_all(path)
    }

    fn create_host_file(&self, path: &Path) -> io::Result<()> {
        self.create_public(path)
    }
}
