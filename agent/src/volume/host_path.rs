//! Paths of the host. They are looked at, made where the spec says so, and never changed or removed. Blocks, on a file
//! system that hangs for ever: nothing but its pod waits for it.

use std::io;
use std::path::{Component, Path};

use crate::chain::Chain;
use crate::disk::Disk;
use crate::disk::contents::FileKind;
use crate::volume::plan::{Expected, HostPath};

/// Sees that what the spec expects is there; or says why not, in the kubelet's words
/// (`pkg/volume/hostpath/host_path.go`).
pub(super) fn check(disk: &dyn Disk, wanted: &HostPath) -> Result<(), String> {
    let path = &wanted.path;
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("invalid HostPath `{}`: must not contain '..'", path.display()));
    }
    let (kind, words) = match wanted.expected {
        Expected::Anything => return Ok(()),
        Expected::Directory { create } => {
            make(disk, path, create, Disk::create_host_dir)?;
            (FileKind::Directory, "a directory")
        }
        Expected::File { create } => {
            make(disk, path, create, Disk::create_host_file)?;
            (FileKind::File, "a file")
        }
        Expected::Socket => (FileKind::Socket, "a socket file"),
        Expected::CharDevice => (FileKind::CharDevice, "a character device"),
        Expected::BlockDevice => (FileKind::BlockDevice, "a block device"),
    };
    match disk.kind(path) {
        Ok(Some(found)) if found == kind => Ok(()),
        // What cannot be looked at is not what is expected either.
        _ => Err(format!("hostPath type check failed: {} is not {words}", path.display())),
    }
}

fn make(
    disk: &dyn Disk,
    path: &Path,
    create: bool,
    with: fn(&dyn Disk, &Path) -> io::Result<()>,
) -> Result<(), String> {
    let there = !create || disk.kind(path).is_ok_and(|kind| kind.is_some());
    if there {
        return Ok(());
    }
    with(disk, path).map_err(|error| format!("failed to make {}: {}", path.display(), Chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    const ALL: [Expected; 8] = [
        Expected::Anything,
        Expected::Directory { create: false },
        Expected::Directory { create: true },
        Expected::File { create: false },
        Expected::File { create: true },
        Expected::Socket,
        Expected::CharDevice,
        Expected::BlockDevice,
    ];

    fn checked(path: &Path, expected: Expected) -> Result<(), String> {
        check(&RealDisk, &HostPath { path: path.to_owned(), expected })
    }

    #[test]
    fn each_type_against_each_thing() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::create_dir(path("directory")).unwrap();
        std::fs::write(path("file"), "kept").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for (place, fits) in [
            (path("directory"), vec![ALL[0], ALL[1], ALL[2]]),
            (path("file"), vec![ALL[0], ALL[3], ALL[4]]),
            (path("socket"), vec![ALL[0], ALL[5]]),
            ("/dev/null".into(), vec![ALL[0], ALL[6]]),
        ] {
            for expected in ALL {
                let result = checked(&place, expected);
                assert_eq!(result.is_ok(), fits.contains(&expected), "{place:?} {expected:?}: {result:?}");
            }
        }
        let told = checked(&path("file"), ALL[1]).unwrap_err();
        assert_eq!(
            told,
            format!("hostPath type check failed: {} is not a directory", path("file").display())
        );
        let told = checked(&path("absent"), ALL[5]).unwrap_err();
        assert!(told.ends_with("is not a socket file"), "{told}");
        assert_eq!(std::fs::read(path("file")).unwrap(), b"kept");
    }

    #[test]
    fn only_what_is_asked_for_is_made() {
        let root = tempfile::tempdir().unwrap();
        for expected in [ALL[0], ALL[1], ALL[3], ALL[5], ALL[6], ALL[7]] {
            let _result = checked(&root.path().join("x"), expected);
            assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "{expected:?}");
        }
        checked(&root.path().join("a/b"), ALL[2]).unwrap();
        assert!(root.path().join("a/b").is_dir());
        checked(&root.path().join("a/f"), ALL[4]).unwrap();
        assert!(root.path().join("a/f").is_file());
        assert!(checked(&root.path().join("none/f"), ALL[4]).is_err());
        let told = checked(Path::new("/a/../b"), ALL[0]).unwrap_err();
        assert_eq!(told, "invalid HostPath `/a/../b`: must not contain '..'");
    }
}
