//! Judges the machine itself: user, kernel, clock, swap, kernel log, inotify. Pure.

use jiff::Timestamp;

use super::{error, ok, warning};
use crate::view::CheckView;

/// Oldest kernel on which Kubernetes 1.36 is supported: 4.19 (upstream: system-validators `types_unix.go`).
const OLDEST_KERNEL: (u32, u32) = (4, 19);
/// Kernel with everything that is used where it is there: `cgroup.kill` (5.14), idmapped overlay mounts and
/// recursive read-only mounts (up to 5.19), swap-safe tmpfs (6.3).
const FULL_KERNEL: (u32, u32) = (6, 3);
/// A clock before this was never set: 2026-01-01T00:00:00Z, in seconds.
const NOT_BEFORE: i64 = 1_767_225_600;
/// inotify instances below which a node with a few dozen pods runs out: the kernel's default is 128 and every
/// container's own use counts against its user.
const INSTANCES: u64 = 512;
/// inotify watches likewise; old kernels default to 8192.
const WATCHES: u64 = 65_536;

/// The user.
#[must_use]
pub fn root(euid: u32) -> CheckView {
    match euid {
        0 => ok("root", "running as root"),
        _ => error("root", format!("running as user {euid}"), "run as root: sudo pinnace check"),
    }
}

/// The kernel, by its release such as `6.1.0-28-amd64`.
#[must_use]
pub fn kernel(release: &str) -> CheckView {
    let release = release.trim();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => {
            return warning(
                "kernel",
                format!("cannot read the release {release:?}"),
                "use Linux 6.3 or newer",
            );
        }
    };
    if version < OLDEST_KERNEL {
        error("kernel", release, "use Linux 4.19 or newer; 6.3 or newer for every function")
    } else if version < FULL_KERNEL {
        let found = format!("{release}; some functions need 6.3 (user namespaces, swap-safe secrets)");
        warning("kernel", found, "use Linux 6.3 or newer if you need them")
    } else {
        ok("kernel", release)
    }
}

/// The wall clock: certificates and tokens depend on it.
#[must_use]
pub fn time(wall: Timestamp) -> CheckView {
    if wall.as_second() < NOT_BEFORE {
        error("time", format!("the clock says {wall:.0}"), "set the clock: timedatectl set-ntp true")
    } else {
        ok("time", format!("{wall:.0}"))
    }
}

/// Swap, from `/proc/swaps`: a heading, then one line per area.
#[must_use]
pub fn swap(swaps: &str) -> CheckView {
    let areas: Vec<&str> = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    match areas.as_slice() {
        [] => ok("swap", "off"),
        areas => warning(
            "swap",
            format!("on: {}", areas.join(", ")),
            "switch it off (swapoff -a, and take it out of /etc/fstab): memory limits do not bound swap on cgroup v1",
        ),
    }
}

/// The kernel log, where out-of-memory kills are read.
#[must_use]
pub fn kmsg(opened: &Result<(), String>) -> CheckView {
    match opened {
        Ok(()) => ok("/dev/kmsg", "readable"),
        Err(reason) => warning(
            "/dev/kmsg",
            reason.as_str(),
            "let the agent read it (root, and the device in its container if there is one): without it \
             out-of-memory kills on cgroup v1 go unseen",
        ),
    }
}

/// The limits of inotify.
#[must_use]
pub fn inotify(instances: Option<&str>, watches: Option<&str>) -> CheckView {
    let number = |text: Option<&str>| text.and_then(|text| text.trim().parse::<u64>().ok());
    let fix =
        format!("sysctl -w fs.inotify.max_user_instances={INSTANCES} fs.inotify.max_user_watches={WATCHES}");
    match (number(instances), number(watches)) {
        (Some(instances), Some(watches)) => {
            let found = format!("{instances} instances, {watches} watches per user");
            let enough = instances >= INSTANCES && watches >= WATCHES;
            if enough { ok("inotify", found) } else { warning("inotify", found, fix) }
        }
        _ => warning(
            "inotify",
            "limits cannot be read: changes are found by polling",
            "use a kernel with inotify",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::CheckLevel::{Error, Ok as Fine, Warning};

    #[test]
    fn kernels_are_told_apart() {
        for (release, level) in [
            ("6.12.1-cloud-amd64\n", Fine),
            ("6.3", Fine),
            ("6.1.0-28-amd64", Warning),
            ("5.10.0", Warning),
            ("4.19.0", Warning),
            ("4.18.0-553.el8", Error),
            ("3.10.0", Error),
            ("linux", Warning),
            ("", Warning),
        ] {
            assert_eq!(kernel(release).level, level, "{release}");
        }
    }

    #[test]
    fn swap_is_seen() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert_eq!(swap(heading).level, Fine);
        assert_eq!(swap("").level, Fine);
        let on = swap(&format!("{heading}/dev/sda2 partition\t1\t0\t-2\n/swapfile file 1 0 -3\n"));
        assert_eq!((on.level, on.found.as_str()), (Warning, "on: /dev/sda2, /swapfile"));
    }

    #[test]
    fn limits_clock_user_and_log() {
        assert_eq!(inotify(Some("512\n"), Some("65536\n")).level, Fine);
        assert_eq!(inotify(Some("128"), Some("65536")).level, Warning);
        assert_eq!(inotify(None, Some("x")).level, Warning);
        assert_eq!(time(Timestamp::UNIX_EPOCH).level, Error);
        assert_eq!(time(Timestamp::from_second(NOT_BEFORE).unwrap()).level, Fine);
        assert_eq!((root(0).level, root(1000).level), (Fine, Error));
        assert_eq!(kmsg(&Err("permission denied".to_owned())).level, Warning);
    }
}
