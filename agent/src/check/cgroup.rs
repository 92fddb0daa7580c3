//! Judges the cgroup hierarchy. Pure.

use super::{error, ok, warning};
use crate::view::CheckView;

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// Controllers that pod and container limits need.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];
const TO_V2: &str = "boot with systemd.unified_cgroup_hierarchy=1 for pod-level limits";

/// Which cgroup version the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Only v2.
    V2,
    /// Controllers on v1, a v2 tree beside them.
    Hybrid,
    /// Only v1.
    V1,
    /// None mounted.
    None,
}

/// Reads the version from `/proc/self/mounts`.
#[must_use]
pub fn detect(mounts: &str) -> Version {
    let types = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        let below = at.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below.then_some((at, kind))
    });
    let (mut v1, mut v2, mut v2_at_root) = (false, false, false);
    for (at, kind) in types {
        v1 |= kind == "cgroup";
        v2 |= kind == "cgroup2";
        v2_at_root |= kind == "cgroup2" && at == ROOT;
    }
    match (v1, v2, v2_at_root) {
        (false, true, true) => Version::V2,
        (true, true, _) => Version::Hybrid,
        (true, false, _) => Version::V1,
        _ => Version::None,
    }
}

/// The version, and what it costs.
#[must_use]
pub fn version(mounts: &str) -> CheckView {
    let limits = "only the runtime's container limits apply, no pod-level limits";
    match detect(mounts) {
        Version::V2 => ok("cgroup", "v2"),
        Version::Hybrid => warning("cgroup", format!("hybrid: {limits}"), TO_V2),
        Version::V1 => warning("cgroup", format!("v1: {limits}"), TO_V2),
        Version::None => {
            error("cgroup", format!("nothing is mounted at {ROOT}"), format!("mount -t cgroup2 none {ROOT}"))
        }
    }
}

/// The controllers: on v2 from `cgroup.controllers`, else from `/proc/cgroups`.
#[must_use]
pub fn controllers(mounts: &str, v2: Option<&str>, v1: &str) -> CheckView {
    let has: Vec<&str> = match detect(mounts) {
        Version::V2 => v2.unwrap_or_default().split_whitespace().collect(),
        Version::Hybrid | Version::V1 | Version::None => enabled_v1(v1),
    };
    let missing: Vec<&str> = NEEDED.into_iter().filter(|wanted| !has.contains(wanted)).collect();
    if missing.is_empty() {
        return ok("controllers", NEEDED.join(", "));
    }
    let found = format!("missing: {}; limits of that kind are not enforced", missing.join(", "));
    warning("controllers", found, "enable them on the kernel command line, such as cgroup_enable=memory")
}

/// Names whose last column, `enabled`, is 1.
fn enabled_v1(text: &str) -> Vec<&str> {
    let enabled = |line: &&str| !line.starts_with('#') && line.split_whitespace().next_back() == Some("1");
    text.lines().filter(enabled).filter_map(|line| line.split_whitespace().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::CheckLevel::{Error, Ok as Fine, Warning};

    const V2: &str = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
    const V1: &str = "tmpfs /sys/fs/cgroup tmpfs ro 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n";
    const HYBRID: &str = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    const TABLE: &str =
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nmemory\t3\t1\t0\npids\t4\t1\t1\n";

    #[test]
    fn versions_are_told_apart() {
        for (mounts, version, level) in [
            (V2, Version::V2, Fine),
            (V1, Version::V1, Warning),
            (HYBRID, Version::Hybrid, Warning),
            ("", Version::None, Error),
            ("cgroup2 /mnt/x cgroup2 rw 0 0\n", Version::None, Error),
            ("cgroup2 /sys/fs/cgroup-old cgroup2 rw 0 0\n", Version::None, Error),
        ] {
            assert_eq!(detect(mounts), version, "{mounts}");
            assert_eq!(super::version(mounts).level, level, "{mounts}");
        }
    }

    #[test]
    fn missing_controllers_are_named() {
        assert_eq!(controllers(V2, Some("cpuset cpu io memory pids\n"), "").level, Fine);
        let without = controllers(V2, Some("cpu\n"), TABLE);
        assert!(without.found.starts_with("missing: memory, pids;"), "{without:?}");
        let old = controllers(V1, None, TABLE);
        assert!(old.found.starts_with("missing: memory;"), "{old:?}");
    }
}
