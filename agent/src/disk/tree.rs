//! Removal of a directory tree that can neither leave it through a link nor cross into a mount.
//!
//! Mount points are looked for first, so that a tree with one is left whole. After that every step is relative to
//! an open directory, and a directory is only opened if that crosses no mount: whoever swaps a directory for a link
//! or mounts something meanwhile stops the removal, and cannot redirect it. Two descriptors are open at a time, so
//! the depth of a tree does not matter.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::mounts;

/// A directory, opened to be emptied.
pub(super) const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// How often a directory may be found filled again by somebody else.
const MAX_REFILLS: usize = 3;

/// A directory above the one at work.
struct Level {
    identity: (u64, u64),
    /// Name of the next directory within it.
    next: CString,
}

/// Removes what is at `path`; see [`super::Disk::remove_tree`].
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "path has no parent and name"));
    };
    let Some(parent) = absent_as_none(parent.canonicalize())? else { return Ok(()) };
    let mountinfo = std::fs::read("/proc/self/mountinfo")?;
    if let Some(mount) = mounts::at_or_under(&mountinfo, &parent.join(name)) {
        return Err(crosses(&mount.to_string_lossy()));
    }
    let parent: OwnedFd = File::open(&parent)?.into();
    let name = CString::new(name.as_bytes())?;
    remove_entry(parent, name)
}

/// Removes an entry of an open directory with everything in it. Without the look for mount points beforehand: one that
/// is met stops the removal half-way.
pub(super) fn remove_entry(parent: OwnedFd, name: CString) -> io::Result<()> {
    match unlinkat(&parent, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EISDIR) => remove_directory(parent, name),
        Err(error) => Err(error.into()),
    }
}

fn remove_directory(top: OwnedFd, name: CString) -> io::Result<()> {
    let mut here = open_directory(&top, &name)?;
    let mut above = vec![Level { identity: identity(&top)?, next: name }];
    let mut refills = 0_usize;
    while let Some(level) = above.last() {
        if let Some(next) = remove_files(&here)? {
            let below = open_directory(&here, &next)?;
            above.push(Level { identity: identity(&here)?, next });
            here = below;
            continue;
        }
        let parent = if above.len() == 1 { top.try_clone()? } else { open_parent(&here, level.identity)? };
        match unlinkat(&parent, level.next.as_c_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {
                above.pop();
                here = parent;
            }
            Err(Errno::ENOTEMPTY) if refills < MAX_REFILLS => refills = refills.saturating_add(1),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes what is not a directory, up to the first directory, whose name it returns.
fn remove_files(directory: &OwnedFd) -> io::Result<Option<CString>> {
    let mut listing = Dir::openat(directory, c".", DIRECTORY, Mode::empty())?;
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR) => return Ok(Some(name.to_owned())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Opens a directory within another, on condition that no link and no mount lies between the two.
pub(super) fn open_directory(parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let resolve =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    match openat2(parent, name, OpenHow::new().flags(DIRECTORY).resolve(resolve)) {
        Ok(directory) => Ok(directory),
        Err(Errno::EXDEV) => Err(crosses(&name.to_string_lossy())),
        // Kernels before 5.6, and sandboxes that refuse what they do not know.
        Err(Errno::ENOSYS | Errno::EPERM) => open_directory_by_mount_id(parent, name),
        Err(error) => Err(error.into()),
    }
}

fn open_directory_by_mount_id(parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let directory = openat(parent, name, DIRECTORY, Mode::empty())?;
    let same_device = fstat(parent)?.st_dev == fstat(&directory)?.st_dev;
    if same_device && mount_id(parent)? == mount_id(&directory)? {
        Ok(directory)
    } else {
        Err(crosses(&name.to_string_lossy()))
    }
}

/// The `mnt_id` line of a descriptor: tells a bind mount of the same file system from a plain directory.
fn mount_id(file: &impl AsRawFd) -> io::Result<String> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let line = info.lines().find(|line| line.starts_with("mnt_id:"));
    line.map(str::to_owned).ok_or_else(|| io::Error::other("no mount id in fdinfo"))
}

/// The way back up, refused if the directory was moved elsewhere meanwhile.
fn open_parent(directory: &OwnedFd, expected: (u64, u64)) -> io::Result<OwnedFd> {
    let parent = openat(directory, c"..", DIRECTORY, Mode::empty())?;
    if identity(&parent)? == expected {
        Ok(parent)
    } else {
        Err(io::Error::other("a directory was moved while it was being removed"))
    }
}

fn identity(file: &impl AsFd) -> io::Result<(u64, u64)> {
    let FileStat { st_dev, st_ino, .. } = fstat(file)?;
    Ok((st_dev, st_ino))
}

fn crosses(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::CrossesDevices,
        format!("{what} is a mount point, nothing under it is removed"),
    )
}

fn absent_as_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::Barrier;

    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    use nix::mount::{MsFlags, mount, umount};
    use proptest::prelude::*;

    use super::*;

    struct Ground {
        _root: tempfile::TempDir,
        tree: PathBuf,
        sentinel: PathBuf,
    }

    /// A tree to remove, and beside it a directory with a file that must survive.
    fn ground() -> Ground {
        let root = tempfile::tempdir().unwrap();
        let (tree, outside) = (root.path().join("tree"), root.path().join("outside"));
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in [tree.join("top"), tree.join("a/b/c/deep"), outside.join("sentinel")] {
            fs::write(file, "x").unwrap();
        }
        Ground { tree, sentinel: outside.join("sentinel"), _root: root }
    }

    /// Runs `test` with a bind mount, or says that it could not.
    fn with_bind_mount(source: &Path, target: &Path, test: impl FnOnce()) {
        let none = None::<&str>;
        match mount(Some(source), target, none, MsFlags::MS_BIND, none) {
            Ok(()) => {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
                umount(target).unwrap();
                result.unwrap();
            }
            Err(error) => println!("SKIPPED: needs root and the right to mount: {error}"),
        }
    }

    #[test]
    fn a_tree_is_removed_with_everything_in_it() {
        let ground = ground();
        remove(&ground.tree).unwrap();
        assert!(!ground.tree.exists() && ground.sentinel.exists());
        remove(&ground.tree).unwrap();
        remove(&ground.tree.join("not/there")).unwrap();
    }

    #[test]
    fn links_are_removed_and_never_followed() {
        let ground = ground();
        let outside = ground.sentinel.parent().unwrap();
        symlink(outside, ground.tree.join("a/link")).unwrap();
        symlink(outside, ground.tree.join("a/b/c/link")).unwrap();
        symlink(&ground.sentinel, ground.tree.join("file-link")).unwrap();
        symlink(outside, ground.tree.with_file_name("itself")).unwrap();
        remove(&ground.tree.with_file_name("itself")).unwrap();
        remove(&ground.tree).unwrap();
        assert!(!ground.tree.exists() && ground.sentinel.exists());
    }

    #[test]
    fn a_tree_with_a_mount_is_left_whole() {
        let ground = ground();
        let target = ground.tree.join("a/b/mount with blank");
        fs::create_dir(&target).unwrap();
        with_bind_mount(ground.sentinel.parent().unwrap(), &target, || {
            for path in [&ground.tree, &target] {
                let error = remove(path).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::CrossesDevices, "{error}");
            }
            assert!(ground.sentinel.exists() && ground.tree.join("top").exists());
        });
        remove(&ground.tree).unwrap();
        assert!(ground.sentinel.exists());
    }

    /// The mount that appears after the look at mountinfo: both ways of opening refuse it, even though a bind
    /// mount within one file system has the same device number.
    #[test]
    fn neither_way_of_opening_enters_a_mount_or_a_link() {
        let ground = ground();
        let target = ground.tree.join("mount");
        fs::create_dir(&target).unwrap();
        symlink(ground.sentinel.parent().unwrap(), ground.tree.join("link")).unwrap();
        let parent: OwnedFd = File::open(&ground.tree).unwrap().into();
        for open in [open_directory, open_directory_by_mount_id] {
            assert!(open(&parent, c"a").is_ok());
            assert!(open(&parent, c"link").is_err());
        }
        with_bind_mount(ground.sentinel.parent().unwrap(), &target, || {
            for open in [open_directory, open_directory_by_mount_id] {
                assert_eq!(open(&parent, c"mount").unwrap_err().kind(), io::ErrorKind::CrossesDevices);
            }
            assert!(
                remove_directory(File::open(ground.tree.parent().unwrap()).unwrap().into(), c"tree".into())
                    .is_err()
            );
            assert!(ground.sentinel.exists());
        });
    }

    #[test]
    fn depth_and_width_do_not_matter() {
        let ground = ground();
        let mut here: OwnedFd = File::open(&ground.tree).unwrap().into();
        // Deeper than a process may have files open.
        for _ in 0..1_100 {
            nix::sys::stat::mkdirat(&here, c"d", Mode::from_bits_truncate(0o700)).unwrap();
            here = openat(&here, c"d", DIRECTORY, Mode::empty()).unwrap();
        }
        for number in 0..500 {
            fs::create_dir(ground.tree.join(format!("w{number}"))).unwrap();
        }
        remove(&ground.tree).unwrap();
        assert!(!ground.tree.exists());
    }

    /// Somebody exchanges a directory and a link to the outside, over and over, while the tree is removed.
    #[test]
    fn i7_a_directory_that_is_swapped_for_a_link_never_redirects_the_removal() {
        let swap =
            |a: &Path, b: &Path| renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).is_ok();
        for _ in 0..200 {
            let ground = ground();
            let (inside, hidden) = (ground.tree.join("a"), ground.tree.with_file_name("hidden"));
            symlink(ground.sentinel.parent().unwrap(), &hidden).unwrap();
            let began = Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert!(swap(&inside, &hidden));
                    began.wait();
                    while swap(&inside, &hidden) {}
                });
                began.wait();
                // Removes the link or the directory, or notices the exchange and refuses.
                while remove(&ground.tree).is_err() {}
            });
            assert!(ground.sentinel.exists());
        }
    }

    /// What a random tree holds, in the order in which it is made; each goes into a directory made before.
    #[derive(Debug, Clone, Copy)]
    enum Thing {
        Directory,
        File,
        LinkOutside,
        LinkUp,
        Mount,
    }

    fn thing() -> impl Strategy<Value = Thing> {
        prop_oneof![
            8 => Just(Thing::Directory),
            8 => Just(Thing::File),
            3 => Just(Thing::LinkOutside),
            3 => Just(Thing::LinkUp),
            1 => Just(Thing::Mount),
        ]
    }

    /// Makes the tree; returns the mounts in it.
    fn make(ground: &Ground, things: &[(Thing, usize)]) -> Vec<PathBuf> {
        let outside = ground.sentinel.parent().unwrap();
        let mut directories = vec![ground.tree.clone()];
        let mut mounts = Vec::new();
        for (number, (thing, place)) in things.iter().enumerate() {
            let path = directories[place % directories.len()].join(format!("t{number}"));
            match thing {
                Thing::Directory => {
                    fs::create_dir(&path).unwrap();
                    directories.push(path);
                }
                Thing::File => fs::write(path, "x").unwrap(),
                Thing::LinkOutside => symlink(outside, path).unwrap(),
                Thing::LinkUp => symlink("..", path).unwrap(),
                Thing::Mount => {
                    fs::create_dir(&path).unwrap();
                    match mount(Some(outside), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
                        Ok(()) => mounts.push(path),
                        Err(error) => println!("SKIPPED: needs root and the right to mount: {error}"),
                    }
                }
            }
        }
        mounts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn i7_no_tree_reaches_outside_and_one_with_a_mount_is_left_whole(
            things in prop::collection::vec((thing(), 0..100_usize), 0..25)
        ) {
            let ground = ground();
            let mounts = make(&ground, &things);
            let removed = remove(&ground.tree);
            let top_is_there = ground.tree.join("top").exists();
            for mount in &mounts {
                umount(mount).unwrap();
            }
            prop_assert!(ground.sentinel.exists());
            prop_assert_eq!(removed.is_ok(), mounts.is_empty());
            prop_assert_eq!(ground.tree.exists(), !mounts.is_empty());
            prop_assert_eq!(top_is_there, !mounts.is_empty());
        }
    }
}
