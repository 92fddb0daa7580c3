//! Giving a directory with all that is in it to a group.
//!
//! Each step is relative to an open directory that was entered through no link and no mount; a link itself gets the
//! group and leads nowhere. Whoever swaps things meanwhile can stop the work and cannot redirect it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, fstat};
use nix::unistd::{Gid, fchown, fchownat};

use super::tree::{DIRECTORY, open_directory};

/// What the group may do with files (`rwMask` of `pkg/volume/volume_linux.go`).
const FILE_BITS: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR).union(Mode::S_IRGRP).union(Mode::S_IWGRP);
/// And with directories, whose new entries get the same group.
const DIRECTORY_BITS: Mode = FILE_BITS.union(Mode::S_ISGID).union(Mode::S_IXUSR).union(Mode::S_IXGRP);
/// Directories are held open on the way down; deeper than this is refused.
const MAX_DEPTH: usize = 256;

/// A directory at work: open, with the names that are left to do.
struct Level {
    directory: OwnedFd,
    left: Vec<CString>,
}

/// See [`super::Disk::give_to_group`].
pub(super) fn give(root: &Path, gid: u32) -> io::Result<()> {
    let gid = Gid::from_raw(gid);
    let mut levels = vec![Level::enter(open(root, DIRECTORY, Mode::empty())?)?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.left.pop() else {
            if let Some(done) = levels.pop() {
                add(&done.directory, gid, DIRECTORY_BITS)?;
            }
            continue;
        };
        let Some(below) = entry(&level.directory, &name, gid)? else { continue };
        if levels.len() >= MAX_DEPTH {
            return Err(io::Error::other("directories are nested too deep"));
        }
        levels.push(Level::enter(below)?);
    }
    Ok(())
}

impl Level {
    fn enter(directory: OwnedFd) -> io::Result<Self> {
        let mut left = Vec::new();
        for entry in Dir::openat(&directory, c".", DIRECTORY, Mode::empty())?.iter() {
            let name = entry?.file_name().to_owned();
            if name.as_c_str() != c"." && name.as_c_str() != c".." {
                left.push(name);
            }
        }
        Ok(Self { directory, left })
    }
}

/// One entry; a directory is returned open, to be done after all that is in it.
fn entry(directory: &OwnedFd, name: &CStr, gid: Gid) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        file => file?,
    };
    match SFlag::from_bits_truncate(fstat(&file)?.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFLNK => {
            fchownat(&file, c"", None, Some(gid), AtFlags::AT_EMPTY_PATH)?;
            Ok(None)
        }
        SFlag::S_IFDIR => match open_directory(directory, name) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(None),
            below => Ok(Some(below?)),
        },
        _ => {
            fchownat(&file, c"", None, Some(gid), AtFlags::AT_EMPTY_PATH)?;
            let mode = bits(fstat(&file)?.st_mode) | FILE_BITS;
            // The one way to the mode of a file that is not opened, by its descriptor and not by its name.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            fchmodat(nix::fcntl::AT_FDCWD, path.as_str(), mode, FchmodatFlags::FollowSymlink)?;
            Ok(None)
        }
    }
}

fn add(file: &OwnedFd, gid: Gid, more: Mode) -> io::Result<()> {
    // The group first: a change of owner takes setgid away.
    fchown(file, None, Some(gid))?;
    Ok(fchmod(file, bits(fstat(file)?.st_mode) | more)?)
}

fn bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode & 0o7777)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn all_beneath_gets_the_group_and_nothing_outside() {
        let (root, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| root.path().join(name);
        let kept = host.path().join("kept");
        fs::write(&kept, "host").unwrap();
        let before = fs::metadata(&kept).unwrap();
        fs::create_dir_all(path("a/b")).unwrap();
        for (name, mode) in [("f", 0o600), ("a/b/g", 0o4711)] {
            fs::write(path(name), "x").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink(&kept, path("a/link")).unwrap();
        symlink(host.path(), path("a/b/out")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), Mode::S_IRUSR).unwrap();
        if let Err(error) = give(root.path(), 7) {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
            assert!(
                std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(),
                "cannot change a group: {error}"
            );
            println!("SKIPPED: needs root");
            return;
        }
        let seen = |name: &str| {
            let found = fs::symlink_metadata(path(name)).unwrap();
            (found.mode() & 0o7777, found.gid())
        };
        assert_eq!((seen("f"), seen("pipe")), ((0o660, 7), (0o660, 7)));
        // A change of group takes set-uid away, as chown(1) does.
        assert_eq!(seen("a/b/g"), (0o771, 7));
        for directory in [".", "a", "a/b"] {
            let (mode, gid) = seen(directory);
            assert_eq!((mode & 0o2770, gid), (0o2770, 7), "{directory}");
        }
        assert_eq!((seen("a/link").1, seen("a/b/out").1), (7, 7));
        let after = fs::metadata(&kept).unwrap();
        assert_eq!((before.mode(), before.gid()), (after.mode(), after.gid()));
        assert_eq!(fs::metadata(host.path()).unwrap().gid(), before.gid());
    }
}
