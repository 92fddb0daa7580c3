//! Reading and changing what is beneath a directory that others might have written to.
//!
//! Each step is relative to an open directory, and a directory is opened only if that follows no link and crosses no
//! mount. What was planted there can therefore stop a change, and cannot redirect it.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, fchown, symlinkat};

use super::contents::{Attributes, Change, Contents, Node};
use super::tree::{self, DIRECTORY, open_directory};

/// Entries of one volume that are read. Two versions of the largest object of the API, with one-byte keys, stay
/// within; more was not written by the agent.
const MAX_ENTRIES: usize = 100_000;
/// Bytes of one volume that are read, all files together: above what its file system takes.
const MAX_BYTES: u64 = 128 << 20;
/// How deep directories are looked into: a path of an item is at most 4096 bytes, and nobody nests this deep.
const MAX_DEPTH: usize = 64;

/// Reads everything beneath `root`; see [`super::Disk::contents`].
pub(super) fn read(root: &Path) -> io::Result<Contents> {
    let mut contents = Contents::new();
    let mut bytes_left = MAX_BYTES;
    let mut ahead = vec![(open_root(root)?, PathBuf::new())];
    while let Some((directory, path)) = ahead.pop() {
        let mut listing = Dir::openat(&directory, c".", DIRECTORY, Mode::empty())?;
        for entry in listing.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let inner = path.join(OsStr::from_bytes(name.to_bytes()));
            if contents.len() >= MAX_ENTRIES || inner.components().count() > MAX_DEPTH {
                return Err(io::Error::other("holds more than a volume of the agent's would"));
            }
            let Some((node, below)) = look(&directory, name, &mut bytes_left)? else { continue };
            ahead.extend(below.map(|below| (below, inner.clone())));
            contents.insert(inner, node);
        }
    }
    Ok(contents)
}

/// One entry, and the directory opened if it is one; none if it has just gone.
fn look(
    directory: &OwnedFd,
    name: &CStr,
    bytes_left: &mut u64,
) -> io::Result<Option<(Node, Option<OwnedFd>)>> {
    let stat = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(None),
        stat => stat?,
    };
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    Ok(Some(match kind {
        SFlag::S_IFLNK => (Node::Link(readlinkat(directory, name)?.into()), None),
        SFlag::S_IFREG => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let file: File = openat(directory, name, flags, Mode::empty())?.into();
            let mut bytes = Vec::new();
            file.take(bytes_left.saturating_add(1)).read_to_end(&mut bytes)?;
            *bytes_left = bytes_left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
            (Node::File(bytes.into(), attributes(&stat)), None)
        }
        SFlag::S_IFDIR => match open_directory(directory, name) {
            Ok(below) => (Node::Directory(attributes(&stat)), Some(below)),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => (Node::Other, None),
            Err(error) => return Err(error),
        },
        _ => (Node::Other, None),
    }))
}

/// Reads one file that is not the agent's; see [`super::Disk::read_beneath`].
pub(super) fn read_file(root: &Path, inner: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let resolve =
        ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let top = open_root(root)?;
    let file: File = match openat2(&top, inner, OpenHow::new().flags(flags).resolve(resolve)) {
        Err(Errno::ENOENT) => return Ok(None),
        file => file?.into(),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no plain file"));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(Some(bytes)) }
}

fn attributes(stat: &FileStat) -> Attributes {
    Attributes { mode: stat.st_mode & 0o7777, uid: Some(stat.st_uid), gid: Some(stat.st_gid) }
}

/// Makes one change beneath `root`; see [`super::Disk::change`].
pub(super) fn change(root: &Path, change: &Change) -> io::Result<()> {
    let top = open_root(root)?;
    match change {
        Change::MakeDirectory(path, wanted) => {
            let (parent, name) = parent_of(&top, path)?;
            mkdirat(&parent, name.as_c_str(), Mode::S_IRWXU)?;
            give(&open_directory(&parent, &name)?, wanted)
        }
        Change::WriteFile(path, bytes, wanted) => {
            let (parent, name) = parent_of(&top, path)?;
            let flags =
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut file: File =
                openat(&parent, name.as_c_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into();
            file.write_all(bytes.bytes())?;
            give(&file, wanted)
        }
        Change::Link(path, target) => {
            let (parent, name) = parent_of(&top, path)?;
            Ok(symlinkat(target.as_path(), &parent, name.as_c_str())?)
        }
        Change::Rename(from, to) => {
            let ((old, old_name), (new, new_name)) = (parent_of(&top, from)?, parent_of(&top, to)?);
            Ok(renameat(&old, old_name.as_c_str(), &new, new_name.as_c_str())?)
        }
        Change::Remove(path) => {
            let (parent, name) = parent_of(&top, path)?;
            tree::remove_entry(parent, name)
        }
        Change::SetAttributes(path, wanted) => {
            let (parent, name) = parent_of(&top, path)?;
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let file: File = openat(&parent, name.as_c_str(), flags, Mode::empty())?.into();
            let known = file.metadata()?;
            if !known.is_dir() && !known.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a directory"));
            }
            give(&file, wanted)
        }
    }
}

/// Owner first: a change of owner takes setgid away.
fn give(file: &impl AsFd, wanted: &Attributes) -> io::Result<()> {
    if wanted.uid.is_some() || wanted.gid.is_some() {
        fchown(file, wanted.uid.map(Uid::from_raw), wanted.gid.map(Gid::from_raw))?;
    }
    Ok(fchmod(file, Mode::from_bits_truncate(wanted.mode))?)
}

/// The volume's directory. What leads to it is the agent's own, closed to everyone else.
fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(open(root, DIRECTORY, Mode::empty())?)
}

fn parent_of(top: &OwnedFd, path: &Path) -> io::Result<(OwnedFd, CString)> {
    let outside = || io::Error::new(io::ErrorKind::InvalidInput, "path is not beneath the directory");
    let mut names = Vec::new();
    for component in path.components() {
        let Component::Normal(name) = component else { return Err(outside()) };
        names.push(CString::new(name.as_bytes())?);
    }
    let last = names.pop().ok_or_else(outside)?;
    let mut here = top.try_clone()?;
    for name in names {
        here = open_directory(&here, &name)?;
    }
    Ok((here, last))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn path(text: &str) -> PathBuf {
        text.into()
    }

    #[test]
    fn a_file_of_the_pods_is_read_and_nothing_outside_of_its_volume() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("volume");
        fs::create_dir_all(root.join("d")).unwrap();
        fs::write(top.path().join("outside"), "c4nary").unwrap();
        fs::write(root.join("d/f"), "12345").unwrap();
        for (link, target) in [("in", "d/f"), ("rooted", "/d/f"), ("out", "../outside"), ("self", "self")] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(top.path().join("outside"), root.join("far")).unwrap();
        symlink("/proc/self/root", root.join("d/magic")).unwrap();
        let pipe = CString::new(root.join("pipe").as_os_str().as_bytes()).unwrap();
        nix::unistd::mkfifo(pipe.as_c_str(), Mode::S_IRWXU).unwrap();
        let read = |path: &str, limit: u64| {
            let found = read_file(&root, Path::new(path), limit).map_err(|error| error.kind());
            found.map(|found| found.map(|bytes| String::from_utf8(bytes).unwrap()))
        };
        for path in ["d/f", "in", "rooted", "d/../d/f", "../../d/f"] {
            assert_eq!(read(path, 5), Ok(Some("12345".to_owned())), "{path}");
        }
        for path in ["gone", "d/gone", "out", "far", "../outside", "d/magic/etc/hostname"] {
            assert_eq!(read(path, 99), Ok(None), "{path}");
        }
        assert_eq!(read("d/f", 4), Err(io::ErrorKind::FileTooLarge));
        for path in ["pipe", "d", "self"] {
            assert!(read(path, 9).is_err(), "{path}");
        }
        // What is mounted in it is another's, such as a part of /proc.
        assert!(read_file(Path::new("/"), Path::new("proc/version"), 9_999).is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let root = tempfile::tempdir().unwrap();
        let make = |what: &Change| change(root.path(), what);
        let plain = Attributes::mode(0o2755);
        make(&Change::MakeDirectory(path("..a"), plain)).unwrap();
        make(&Change::MakeDirectory(path("..a/b"), Attributes::mode(0o755))).unwrap();
        make(&Change::WriteFile(path("..a/b/f"), "x".into(), Attributes::mode(0o604))).unwrap();
        make(&Change::Link(path("..t"), path("..a"))).unwrap();
        make(&Change::Rename(path("..t"), path("..data"))).unwrap();
        let seen = read(root.path()).unwrap();
        assert!(matches!(&seen[Path::new("..a")], Node::Directory(found) if plain.are_met_by(found)));
        let Node::File(bytes, found) = &seen[Path::new("..a/b/f")] else { panic!("{seen:?}") };
        assert_eq!((bytes.bytes(), found.mode), (&b"x"[..], 0o604));
        assert_eq!(seen[Path::new("..data")], Node::Link("..a".into()));
        assert_eq!(seen.len(), 4);
        make(&Change::SetAttributes(path("..a/b"), Attributes::mode(0o2777))).unwrap();
        assert!(make(&Change::SetAttributes(path("..data"), Attributes::mode(0o777))).is_err());
        let Node::Directory(found) = read(root.path()).unwrap()[Path::new("..a/b")].clone() else { panic!() };
        assert_eq!(found.mode, 0o2777);
        make(&Change::Remove(path("..data"))).unwrap();
        make(&Change::Remove(path("..a"))).unwrap();
        make(&Change::Remove(path("..a"))).unwrap();
        assert!(read(root.path()).unwrap().is_empty());
    }

    #[test]
    fn what_is_there_is_not_written_over() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("f"), "old").unwrap();
        for what in [
            Change::MakeDirectory(path("f"), Attributes::mode(0o755)),
            Change::WriteFile(path("f"), "new".into(), Attributes::mode(0o644)),
            Change::Link(path("f"), path("x")),
        ] {
            let error = change(root.path(), &what).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{what:?}");
        }
        assert_eq!(fs::read(root.path().join("f")).unwrap(), b"old");
    }

    #[test]
    fn a23_planted_links_redirect_nothing() {
        let (root, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kept = host.path().join("kept");
        fs::write(&kept, "host").unwrap();
        symlink(host.path(), root.path().join("..2024")).unwrap();
        symlink(&kept, root.path().join("..data")).unwrap();
        let file = Attributes::mode(0o777);
        assert!(change(root.path(), &Change::WriteFile(path("..2024/new"), "x".into(), file)).is_err());
        assert!(change(root.path(), &Change::WriteFile(path("..data"), "x".into(), file)).is_err());
        assert!(change(root.path(), &Change::MakeDirectory(path("..2024/new"), file)).is_err());
        assert!(change(root.path(), &Change::Remove(path("..2024/kept"))).is_err());
        assert!(change(root.path(), &Change::Rename(path("..2024/kept"), path("mine"))).is_err());
        for outside in ["../x", "/x", "", "a/../../x", "."] {
            assert!(change(root.path(), &Change::Remove(path(outside))).is_err(), "{outside}");
        }
        let seen = read(root.path()).unwrap();
        assert!(seen.values().all(|node| matches!(node, Node::Link(_))), "{seen:?}");
        change(root.path(), &Change::Remove(path("..2024"))).unwrap();
        change(root.path(), &Change::Remove(path("..data"))).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"host");
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(host.path()).unwrap().count(), 1);
    }
}
