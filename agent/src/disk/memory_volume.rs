//! Volumes on the disk in memory: contents with attributes, and mounts that hide nothing but vanish with all in them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::contents::{Attributes, Change, Contents, Mounted, Node, SubPath};
use super::memory::State;

/// Type of the file system that a part of a volume is on.
const BIND: &str = "ext4";

/// What the disk in memory knows beside plain files.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    attributes: BTreeMap<PathBuf, Attributes>,
    mounts: BTreeMap<PathBuf, Mounted>,
}

impl State {
    pub(super) fn contents(&self, root: &Path) -> Contents {
        let inner = |path: &PathBuf| path.strip_prefix(root).ok().map(Path::to_owned);
        let named = |path: &&PathBuf| path.starts_with(root) && **path != root;
        let attributes = |path: &PathBuf| {
            let known = self.volumes.attributes.get(path).copied();
            known.unwrap_or(Attributes { mode: 0o640, uid: Some(0), gid: Some(0) })
        };
        let directories = self.directories.iter().filter(named);
        let directories = directories.map(|path| (inner(path), Node::Directory(attributes(path))));
        let files = self.files.iter().filter(|(path, _)| named(path));
        let files =
            files.map(|(path, bytes)| (inner(path), Node::File(bytes.as_slice().into(), attributes(path))));
        let links = self.links.iter().filter(|(path, _)| named(path));
        let links = links.map(|(path, target)| (inner(path), Node::Link(target.clone())));
        let all = directories.chain(files).chain(links);
        all.filter_map(|(path, node)| Some((path?, node))).collect()
    }

    /// Makes one change; `cut` ends the writing of a file after so many bytes, as a crash would.
    pub(super) fn change_volume(
        &mut self,
        root: &Path,
        change: &Change,
        cut: Option<usize>,
    ) -> io::Result<()> {
        match change {
            Change::MakeDirectory(path, attributes) => {
                let path = self.place(root, path)?;
                self.directories.insert(path.clone());
                self.give(path, attributes, cut.is_some());
            }
            Change::WriteFile(path, bytes, attributes) => {
                let path = self.place(root, path)?;
                let written = cut.unwrap_or(usize::MAX).min(bytes.bytes().len());
                self.files.insert(path.clone(), bytes.bytes().iter().take(written).copied().collect());
                self.give(path, attributes, cut.is_some());
            }
            _ if cut.is_some() => {}
            Change::Link(path, target) => {
                let path = self.place(root, path)?;
                self.links.insert(path, target.clone());
            }
            Change::Rename(from, to) => {
                let (from, to) = (root.join(from), root.join(to));
                if self.directories.contains(&to) {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                self.files.remove(&to);
                self.links.remove(&to);
                self.move_entry(&from, to)?;
            }
            Change::Remove(path) => self.remove_all(&root.join(path))?,
            Change::SetAttributes(path, attributes) => {
                let path = root.join(path);
                if !self.files.contains_key(&path) && !self.directories.contains(&path) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                self.give(path, attributes, false);
            }
        }
        Ok(())
    }

    pub(super) fn give_to_group(&mut self, root: &Path, gid: u32) -> io::Result<()> {
        let files = self.files.keys().map(|path| (path.clone(), 0o660));
        let directories = self.directories.iter().map(|path| (path.clone(), 0o2770));
        let all: Vec<_> = files.chain(directories).filter(|(path, _)| path.starts_with(root)).collect();
        for (path, more) in all {
            let born = Attributes { mode: 0o640, uid: Some(0), gid: Some(0) };
            let known = self.volumes.attributes.get(&path).copied().unwrap_or(born);
            let given = Attributes { mode: known.mode | more, gid: Some(gid), ..known };
            self.volumes.attributes.insert(path, given);
        }
        Ok(())
    }

    /// What a crash cut short has the attributes that things are born with.
    fn give(&mut self, path: PathBuf, wanted: &Attributes, cut: bool) {
        let born = Attributes { mode: 0o600, uid: Some(0), gid: Some(0) };
        let uid = wanted.uid.or(born.uid);
        let given = Attributes { mode: wanted.mode, uid, gid: wanted.gid.or(born.gid) };
        self.volumes.attributes.insert(path, if cut { born } else { given });
    }

    fn place(&self, root: &Path, inner: &Path) -> io::Result<PathBuf> {
        let path = root.join(inner);
        if self.is_there(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let parent = path.parent().unwrap_or(root);
        if parent == root || self.directories.contains(parent) {
            Ok(path)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn is_there(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.links.contains_key(path) || self.directories.contains(path)
    }

    fn move_entry(&mut self, from: &Path, to: PathBuf) -> io::Result<()> {
        if let Some(target) = self.links.remove(from) {
            self.links.insert(to, target);
        } else if let Some(bytes) = self.files.remove(from) {
            self.files.insert(to, bytes);
        } else {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }

    /// Removes a path with all beneath it, unless a mount is there.
    pub(super) fn remove_all(&mut self, path: &Path) -> io::Result<()> {
        if self.volumes.mounts.keys().any(|mount| mount.starts_with(path)) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        self.forget(|known| known.starts_with(path));
        Ok(())
    }

    /// Removes so many of the entries beneath a path, unless a mount is there.
    pub(super) fn remove_some(&mut self, path: &Path, entries: usize) -> io::Result<()> {
        if self.mounts(path).is_empty() {
            // The deepest first, as a removal goes.
            let beneath: Vec<PathBuf> = self.contents(path).into_keys().rev().take(entries).collect();
            self.forget(|known| beneath.iter().any(|inner| known == path.join(inner)));
        }
        Ok(())
    }

    fn forget(&mut self, gone: impl Fn(&Path) -> bool) {
        self.files.retain(|path, _| !gone(path));
        self.links.retain(|path, _| !gone(path));
        self.directories.retain(|path| !gone(path));
        self.volumes.attributes.retain(|path, _| !gone(path));
    }

    pub(super) fn remove_empty(&mut self, path: &Path) -> io::Result<()> {
        if !self.contents(path).is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.remove_all(path)
    }

    pub(super) fn mount(&mut self, path: &Path, kind: &str) -> io::Result<()> {
        if !self.directories.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mounted = Mounted { path: path.to_owned(), kind: kind.to_owned(), inner: false };
        self.volumes.mounts.insert(path.to_owned(), mounted);
        Ok(())
    }

    /// Of what is in the volume only directories count. What is seen through the mount is not shown.
    pub(super) fn bind(&mut self, SubPath { volume, inner, target }: &SubPath) -> io::Result<()> {
        if !self.directories.contains(volume) {
            return Err(io::ErrorKind::NotFound.into());
        }
        for path in [volume.join(inner), target.clone()] {
            self.directories.extend(path.ancestors().map(Path::to_owned));
        }
        self.mount(target, BIND)
    }

    /// What is in memory ends with its mount; what is elsewhere only is no longer seen here.
    pub(super) fn unmount(&mut self, path: &Path) -> io::Result<()> {
        let mounted = self.volumes.mounts.remove(path).ok_or(io::ErrorKind::InvalidInput)?;
        self.volumes.mounts.retain(|inner, _| !inner.starts_with(path));
        if ["tmpfs", "hugetlbfs"].contains(&mounted.kind.as_str()) {
            self.forget(|known| known.starts_with(path) && known != path);
        }
        Ok(())
    }

    pub(super) fn mounts(&self, path: &Path) -> Vec<Mounted> {
        let within = self.volumes.mounts.values().filter(|mount| mount.path.starts_with(path));
        within.cloned().collect()
    }

    pub(super) fn mount_of(&self, path: &Path) -> Mounted {
        let above = self.volumes.mounts.values().filter(|mount| path.starts_with(&mount.path));
        let deepest = above.max_by_key(|mount| mount.path.components().count()).cloned();
        deepest.unwrap_or(Mounted { path: "/".into(), kind: "memory".to_owned(), inner: false })
    }
}
