//! What of the machine and the configuration enters limits: of containers, and of the cgroups that the node makes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::cgroup::amount::{Host, Other};
use crate::cgroup::name::plain;
use crate::cgroup::tree::KernelTree;
use crate::cgroup::{self, Cgroups, Mode};
use crate::check::cgroup::{Version, detect};
use crate::config::effective::Config;
use crate::config::enforced::Enforced;
use crate::config::reserve::Reserved;
use crate::host::machine::{Host as _, Machine, ThisHost};
use crate::pod::resources::{Node, Swap};

/// Whether the kernel of cgroup v1 accounts for swap.
const SWAP_V1: &str = "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes";
/// The file of cgroup v2 that limits swap. The root has none.
const SWAP_V2: &str = "memory.swap.max";

/// What was read of the machine.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) machine: Machine,
    pub(super) version: Version,
    /// The kernel accounts for swap.
    pub(super) counts_swap: bool,
    /// Processes that it can have.
    pub(super) pids: Option<i64>,
}

impl Limits {
    /// Reads this machine.
    pub(super) fn read(root_dir: &Path) -> io::Result<Self> {
        // A machine that does not show its mounts says so in `pinnace check`.
        let version = detect(&std::fs::read_to_string("/proc/self/mounts").unwrap_or_default());
        let number = |path| std::fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
        let pids = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
        Ok(Self {
            machine: ThisHost::new(root_dir).machine()?,
            version,
            counts_swap: match version {
                Version::V2 => counts_swap(Path::new(cgroup::MOUNT), Path::new("/proc")),
                Version::V1 | Version::Hybrid => Path::new(SWAP_V1).exists(),
                Version::None => false,
            },
            pids: pids.into_iter().filter_map(number).min(),
        })
    }

    /// What enters the message of a container.
    pub(super) fn of_containers(&self, config: &Config) -> Node {
        let behaviour = config.file.memory_swap.as_ref().and_then(|swap| swap.swap_behavior.as_deref());
        let is_v2 = self.version == Version::V2;
        Node {
            memory: self.machine.memory,
            cfs_period: period(config),
            swap: match (self.counts_swap, is_v2, behaviour) {
                (false, _, _) => Swap::Uncounted,
                (true, false, _) => Swap::Together,
                (true, true, Some("LimitedSwap")) => Swap::Shared(self.machine.swap),
                (true, true, _) => Swap::Never,
            },
            hugepage_sizes: sizes(&self.machine.hugepages),
            group_kill: is_v2 && !config.file.single_process_oom_kill.unwrap_or(false),
        }
    }

    /// Cgroups of pods.
    pub(super) fn cgroups(&self, config: &Config) -> Cgroups {
        let root = config.file.cgroup_root.clone().unwrap_or_default();
        let config = cgroup::Config {
            mode: self.mode(config, &root),
            driver: config.cgroup_driver,
            root,
            needed_by: needed_by(config),
        };
        Cgroups::new(config, Arc::new(KernelTree::new(Path::new(cgroup::MOUNT))))
    }

    /// A virtual node is a guest on its machine: it makes cgroups only under a root of its own.
    fn mode(&self, config: &Config, root: &str) -> Mode {
        let is_guest = config.node.is_virtual && root.trim_matches('/').is_empty();
        match config.file.cgroups_per_qos {
            Some(false) => Mode::Nothing(root.to_owned()),
            _ if self.version != Version::V2 || is_guest => Mode::Names,
            _ => Mode::Whole(Box::new(self.host(config))),
        }
    }

    fn host(&self, config: &Config) -> Host {
        let enforced = config.file.enforce_node_allocatable.as_ref();
        let of_pods = enforced.is_none_or(|list| list.iter().any(|word| word == "pods"));
        let pages = &self.machine.hugepages;
        Host {
            cpus: self.machine.cpus,
            memory: self.machine.memory,
            pids: self.pids,
            hugepages: pages.iter().map(|(size, total)| (*size, *total)).collect(),
            cfs_period: period(config),
            pod_pids: config.pod_pids_limit,
            reserved: if of_pods { config.node.reserved.clone() } else { Reserved::default() },
            others: others(config),
        }
    }
}

fn enforced(config: &Config) -> impl Iterator<Item = Enforced> + '_ {
    config.file.enforce_node_allocatable.iter().flatten().filter_map(|word| Enforced::parse(word))
}

/// Cgroups of others that are limited to their reservations.
fn others(config: &Config) -> Vec<Other> {
    let other = |enforced: Enforced| {
        let cgroup = plain(enforced.cgroup(&config.file)?);
        Some(Other { key: enforced.key, cgroup, amounts: enforced.amounts(&config.file) })
    };
    enforced(config).filter_map(other).collect()
}

/// Keys that are set and say something of cgroups which the node makes, or limits.
fn needed_by(config: &Config) -> Vec<&'static str> {
    let set = [
        ("podPidsLimit", config.pod_pids_limit.is_some()),
        ("enforceNodeAllocatable", enforced(config).next().is_some()),
        (
            "cgroupRoot",
            config.file.cgroup_root.as_deref().is_some_and(|root| !root.trim_matches('/').is_empty()),
        ),
    ];
    set.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
}

fn period(config: &Config) -> Option<i64> {
    let micros = i64::try_from(config.cpu_cfs_quota_period.as_micros()).unwrap_or(100_000);
    config.cpu_cfs_quota.then_some(micros)
}

/// Page sizes in the order of the kernel's directory, which is that of their names.
fn sizes(hugepages: &BTreeMap<i64, i64>) -> Vec<i64> {
    let mut sizes: Vec<i64> = hugepages.keys().copied().collect();
    sizes.sort_by_key(|size| (size / 1024).to_string());
    sizes
}

/// Whether some cgroup below the root, which is enough of a proof, can be kept from swap. On a machine where nobody has
/// made one with the controller of memory, what the kernel tells of itself has to do.
fn counts_swap(mount: &Path, proc: &Path) -> bool {
    let own = text(&proc.join("self/cgroup"));
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let inside = std::fs::read_dir(mount).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut places = inside.chain([mount.join(own)]).filter(|place| place != mount);
    match places.find(|place| has_memory(place)) {
        Some(place) => place.join(SWAP_V2).exists(),
        None => {
            let line = text(&proc.join("cmdline"));
            let told = line.split_whitespace().rfind(|word| word.starts_with("swapaccount="));
            has_memory(mount) && proc.join("swaps").exists() && told != Some("swapaccount=0")
        }
    }
}

fn has_memory(cgroup: &Path) -> bool {
    text(&cgroup.join("cgroup.controllers")).split_whitespace().any(|name| name == "memory")
}

/// Empty if it cannot be read.
fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn configured(file: Value, is_virtual: bool) -> Config {
        let mut config = Config::defaults("n", Path::new("/r")).unwrap();
        config.file = serde_json::from_value(file).unwrap();
        config.node.is_virtual = is_virtual;
        config
    }

    fn limits(version: Version) -> Limits {
        let hugepages = BTreeMap::from([(2 << 20, 0), (1 << 30, 0), (64 << 10, 0)]);
        let machine = Machine { cpus: 2, memory: 1 << 30, swap: 7, hugepages, ..Machine::default() };
        Limits { machine, version, counts_swap: true, pids: Some(100) }
    }

    #[test]
    fn cgroups_are_made_on_v2_only_and_never_in_anothers_tree() {
        let mode = |version, file: Value, is_virtual| {
            let config = configured(file, is_virtual);
            let root = config.file.cgroup_root.clone().unwrap_or_default();
            limits(version).mode(&config, &root)
        };
        assert!(matches!(mode(Version::V2, json!({}), false), Mode::Whole(_)));
        assert_eq!(mode(Version::Hybrid, json!({}), false), Mode::Names);
        assert_eq!(mode(Version::V2, json!({}), true), Mode::Names);
        assert!(matches!(mode(Version::V2, json!({"cgroupRoot": "/v1"}), true), Mode::Whole(_)));
        let off = json!({"cgroupsPerQOS": false, "cgroupRoot": "/x"});
        assert_eq!(mode(Version::V2, off, false), Mode::Nothing("/x".into()));
    }

    #[test]
    fn reservations_hold_for_pods_unless_they_are_not_enforced() {
        let mut config = configured(json!({}), false);
        config.node.reserved.memory = Some(crate::config::reserve::Threshold::Units(1));
        let kept = |config: &Config| limits(Version::V2).host(config).reserved;
        assert_eq!(kept(&config), config.node.reserved);
        config.file.enforce_node_allocatable = Some(vec!["none".into()]);
        assert_eq!(kept(&config), Reserved::default());
    }

    #[test]
    fn reservations_of_others_are_limits_of_theirs_where_that_is_asked_for() {
        let file = json!({
            "kubeReserved": {"cpu": "1", "memory": "1Gi"}, "kubeReservedCgroup": "node/../kube/",
            "systemReserved": {"cpu": "1"}, "systemReservedCgroup": "/system",
            "enforceNodeAllocatable": ["pods", "kube-reserved"],
        });
        let config = configured(file, false);
        let shown: Vec<_> =
            limits(Version::V2).host(&config).others.into_iter().map(|it| (it.key, it.cgroup)).collect();
        assert_eq!(shown, [("kubeReservedCgroup", "/node/kube".to_owned())]);
        assert_eq!(needed_by(&config), ["enforceNodeAllocatable"]);
        let mut plain = configured(json!({"enforceNodeAllocatable": ["pods"], "cgroupRoot": "/"}), false);
        assert_eq!((needed_by(&plain), limits(Version::V2).host(&plain).others), (Vec::new(), Vec::new()));
        plain.pod_pids_limit = Some(7);
        assert_eq!(needed_by(&plain), ["podPidsLimit"]);
    }

    #[test]
    fn containers_are_told_what_the_kernel_can_do() {
        let node = |version, file| limits(version).of_containers(&configured(file, false));
        let v2 = node(Version::V2, json!({}));
        assert_eq!((v2.swap, v2.group_kill, v2.cfs_period), (Swap::Never, true, Some(100_000)));
        assert_eq!(v2.hugepage_sizes, [1 << 30, 2 << 20, 64 << 10]);
        let v1 = node(Version::Hybrid, json!({}));
        assert_eq!((v1.swap, v1.group_kill), (Swap::Together, false));
        let limited = json!({"memorySwap": {"swapBehavior": "LimitedSwap"}, "singleProcessOOMKill": true});
        let limited = node(Version::V2, limited);
        assert_eq!((limited.swap, limited.group_kill), (Swap::Shared(7), false));
    }

    #[test]
    fn swap_is_counted_where_a_cgroup_shows_it_or_else_where_the_kernel_can() {
        let dir = tempfile::tempdir().unwrap();
        let (mount, proc) = (dir.path().join("cgroup"), dir.path().join("proc"));
        let put = |path: &Path, text: &str| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put(&mount.join("cgroup.controllers"), "cpu memory\n");
        put(&proc.join("self/cgroup"), "0::/\n");
        put(&proc.join("cmdline"), "quiet\n");
        assert!(!counts_swap(&mount, &proc), "the kernel cannot swap");
        put(&proc.join("swaps"), "");
        assert!(counts_swap(&mount, &proc));
        put(&proc.join("cmdline"), "swapaccount=1 swapaccount=0\n");
        assert!(!counts_swap(&mount, &proc), "it was told not to count");
        put(&mount.join("a.slice/cgroup.controllers"), "memory\n");
        put(&mount.join("a.slice").join(SWAP_V2), "max\n");
        assert!(counts_swap(&mount, &proc), "a cgroup proves it");
        put(&proc.join("cmdline"), "quiet\n");
        std::fs::remove_file(mount.join("a.slice").join(SWAP_V2)).unwrap();
        assert!(!counts_swap(&mount, &proc), "a cgroup proves it");
    }
}
