//! Which mount points lie at or under a path, from the text of `/proc/self/mountinfo`. Pure.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::contents::Mounted;

/// Positions of what is read among the fields of a line (proc_pid_mountinfo(5)).
const DEVICE: usize = 2;
const ROOT: usize = 3;
const MOUNT_POINT: usize = 4;

/// A line, with the names as the kernel's own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount<'a> {
    device: &'a [u8],
    /// What of the file system is shown.
    root: PathBuf,
    point: PathBuf,
    kind: &'a [u8],
}

/// The first mount point that is `path` or lies under it. `path` must be free of symbolic links.
pub(super) fn at_or_under(mountinfo: &[u8], path: &Path) -> Option<PathBuf> {
    let found = mounts(mountinfo).find(|mount| mount.point.starts_with(path));
    found.map(|mount| mount.point)
}

/// Every mount point that is `path` or lies under it, in the order of mounting. `path` must be free of symbolic links.
pub(super) fn under(mountinfo: &[u8], path: &Path) -> Vec<Mounted> {
    let around = covering(mountinfo, path);
    let own = around.as_ref().and_then(|around| around.inside(path));
    let is_own = |mount: &Mount<'_>| {
        let same = around.as_ref().is_some_and(|around| around.device == mount.device);
        same && mount.point != path && own.as_ref().is_some_and(|own| mount.root.starts_with(own))
    };
    let within = mounts(mountinfo).filter(|mount| mount.point.starts_with(path));
    within.map(|mount| Mounted { inner: is_own(&mount), ..mount.told() }).collect()
}

/// The mount that `path` lies on. `path` must be free of symbolic links.
pub(super) fn of(mountinfo: &[u8], path: &Path) -> Option<Mounted> {
    covering(mountinfo, path).map(|mount| mount.told())
}

/// The last of the deepest: of several mounts on one point the newest is seen.
fn covering<'a>(mountinfo: &'a [u8], path: &Path) -> Option<Mount<'a>> {
    let above = mounts(mountinfo).filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(mount)
}

fn mount(line: &[u8]) -> Option<Mount<'_>> {
    let field = |position| line.split(|byte| *byte == b' ').nth(position);
    let path = |position| Some(OsString::from_vec(unescape(field(position)?)).into());
    // A lone dash ends the optional fields; the type follows.
    let kind = line.split(|byte| *byte == b' ').skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount { device: field(DEVICE)?, root: path(ROOT)?, point: path(MOUNT_POINT)?, kind })
}

impl Mount<'_> {
    fn told(&self) -> Mounted {
        let kind = String::from_utf8_lossy(self.kind).into_owned();
        Mounted { path: self.point.clone(), kind, inner: false }
    }

    /// A path on this mount, as a path within its file system.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        Some(self.root.join(path.strip_prefix(&self.point).ok()?))
    }
}

/// The kernel writes blanks, line feeds and backslashes as three octal digits.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    // Nearly always, and a node may have a thousand mounts.
    if !field.contains(&b'\\') {
        return field.to_vec();
    }
    let mut out = Vec::with_capacity(field.len());
    while let Some((first, rest)) = field.split_first() {
        let octal =
            if *first == b'\\' { rest.first_chunk::<3>().and_then(|digits| value(*digits)) } else { None };
        match octal {
            Some(byte) => {
                out.push(byte);
                field = rest.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                field = rest;
            }
        }
    }
    out
}

fn value(digits: [u8; 3]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &[u8] = b"24 1 0:22 / / rw,relatime shared:1 - overlay overlay rw\n\
        31 24 0:5 / /var/lib/kubelet/pods/u1/volumes/a\\040b rw - tmpfs tmpfs rw\n\
        32 24 0:6 / /var/lib/kubelet2 rw - tmpfs tmpfs rw\n";

    #[test]
    fn mounts_under_a_path_are_found_by_component() {
        let found = |path: &str| at_or_under(SAMPLE, Path::new(path));
        let volume = PathBuf::from("/var/lib/kubelet/pods/u1/volumes/a b");
        assert_eq!(found("/var/lib/kubelet/pods/u1"), Some(volume.clone()));
        assert_eq!(found("/var/lib/kubelet/pods/u1/volumes/a b"), Some(volume));
        assert_eq!(found("/var/lib/kubelet/pods/u"), None);
        assert_eq!(found("/var/lib/kubelet/pods/u1/volumes/a b/c"), None);
        let of_pod = under(SAMPLE, Path::new("/var/lib/kubelet"));
        let volume = "/var/lib/kubelet/pods/u1/volumes/a b".into();
        assert_eq!(of_pod, [Mounted { path: volume, kind: "tmpfs".into(), inner: false }]);
        let kinds: Vec<_> = under(SAMPLE, Path::new("/")).into_iter().map(|mount| mount.kind).collect();
        assert_eq!(kinds, ["overlay", "tmpfs", "tmpfs"]);
    }

    /// A container's own mount of the pod's message file shows up in a volume that it shares with the node.
    #[test]
    fn a35_a_mount_of_the_pods_own_files_is_told_from_others() {
        let text = b"20 1 8:1 /@ / rw - btrfs /dev/sda1 rw\n\
            21 20 8:1 /@/pods/u1/containers/c/0//deleted /pods/u1/volumes/e/message rw - btrfs /dev/sda1 rw\n\
            22 20 8:1 /@/data /pods/u1/volumes/e/data rw - btrfs /dev/sda1 rw\n\
            23 20 8:2 /@/pods/u1/x /pods/u1/volumes/e/other rw - ext4 /dev/sdb1 rw\n\
            24 20 8:1 /@/pods/u1 /pods/u1 rw - btrfs /dev/sda1 rw\n";
        let pod = Path::new("/pods/u1");
        let told: Vec<_> = under(text, pod).into_iter().map(|mount| mount.inner).collect();
        assert_eq!(told, [true, false, false, false]);
        assert_eq!(of(text, Path::new("/pods/u1/volumes/e/other/x")).unwrap().kind, "ext4");
        assert_eq!(of(text, Path::new("/pods/u2")).unwrap().path, Path::new("/"));
        assert_eq!(of(b"", pod), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_escapes_are_undone(name in prop::collection::vec(1..=255_u8, 0..20)) {
            let mut line = b"1 2 3:4 / /m/".to_vec();
            for byte in &name {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => line.extend(format!("\\{byte:03o}").bytes()),
                    _ => line.push(*byte),
                }
            }
            line.extend_from_slice(b" rw - tmpfs tmpfs rw");
            let mut expected = b"/m/".to_vec();
            expected.extend(&name);
            prop_assert_eq!(mount(&line).map(|mount| mount.point), Some(OsString::from_vec(expected).into()));
            let _survived = (at_or_under(&name, Path::new("/")), under(&name, Path::new("/")));
        }
    }
}
