//! Whether this machine may be a node as it is configured: swap, cgroup v1, and how gladly the kernel kills the agent.
//!
//! A virtual node is a guest on its machine, and an instance with a directory of its own and without a cluster is a trial:
//! for those the kubelet's defaults about the machine are told, and only what the configuration says itself is enforced.

use std::path::Path;

use super::StartError;
use crate::check::cgroup::{Version, detect};
use crate::config::effective::Config;
use crate::config::flags::DEFAULT_ROOT_DIR;

/// The kubelet's own score (`pkg/kubelet/qos/policy.go`).
const OOM_SCORE_ADJ: i32 = -999;

/// What comes of the machine's swap.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Swap {
    /// None is on, or it may be.
    Fine,
    /// It is on, and nobody said that it may be: these areas.
    Told(String),
    /// It is on and must not be.
    Refused(String),
}

/// Sees to this machine, before anything is changed.
pub(super) fn settle(config: &Config) -> Result<(), StartError> {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    if refuses_v1(config, detect(&text("/proc/self/mounts"))) {
        return Err(StartError::CgroupV1);
    }
    match swap(config, &text("/proc/swaps")) {
        Swap::Fine => {}
        Swap::Told(areas) => tracing::warn!(
            areas,
            "swap is on, and failSwapOn is not set: a node of a cluster would not start; switch it off, or set \
             failSwapOn: false"
        ),
        Swap::Refused(areas) => return Err(StartError::Swap(areas)),
    }
    if let Some(score) = score(config) {
        adjust(Path::new("/proc/self/oom_score_adj"), score, config.file.oom_score_adj.is_some());
    }
    Ok(())
}

fn is_guest_or_trial(config: &Config) -> bool {
    let is_trial = config.root_dir != Path::new(DEFAULT_ROOT_DIR) && config.kubeconfig.is_none();
    config.node.is_virtual || is_trial
}

/// From `/proc/swaps`: a heading, then one line per area.
fn swap(config: &Config, swaps: &str) -> Swap {
    let areas: Vec<_> = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let areas = areas.join(", ");
    match config.file.fail_swap_on {
        _ if areas.is_empty() => Swap::Fine,
        Some(false) => Swap::Fine,
        None if is_guest_or_trial(config) => Swap::Told(areas),
        Some(true) | None => Swap::Refused(areas),
    }
}

/// Unless told so, the agent runs on cgroup v1, with the limits of containers only.
fn refuses_v1(config: &Config, version: Version) -> bool {
    config.file.fail_cgroup_v1 == Some(true) && matches!(version, Version::V1 | Version::Hybrid)
}

fn score(config: &Config) -> Option<i32> {
    let default = (!is_guest_or_trial(config)).then_some(OOM_SCORE_ADJ);
    config.file.oom_score_adj.or(default)
}

/// A score below the present one needs a right that not every container's root has.
fn adjust(file: &Path, score: i32, is_asked_for: bool) {
    match std::fs::write(file, score.to_string()) {
        Ok(()) => {}
        Err(error) if is_asked_for => tracing::warn!(%error, score, "oomScoreAdj cannot be set"),
        Err(error) => tracing::info!(%error, score, "the agent's oomScoreAdj cannot be set"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NONE: &str = "Filename\tType\tSize\tUsed\tPriority\n";
    const ON: &str = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 8 0 -2\n/swap file 8 0 -3\n";

    fn config(root: &str, file: Value) -> Config {
        let mut config = Config::defaults("n", Path::new(root)).unwrap();
        config.file = serde_json::from_value(file).unwrap();
        config
    }

    #[test]
    fn a_node_refuses_swap_unless_it_may_be_on() {
        let areas = || "/dev/sda2, /swap".to_owned();
        let of = |root: &str, file: Value| swap(&config(root, file), ON);
        assert_eq!(of(DEFAULT_ROOT_DIR, json!({})), Swap::Refused(areas()));
        assert_eq!(of(DEFAULT_ROOT_DIR, json!({"failSwapOn": false})), Swap::Fine);
        assert_eq!(of("/r", json!({})), Swap::Told(areas()));
        assert_eq!(of("/r", json!({"failSwapOn": true})), Swap::Refused(areas()));
        assert_eq!(swap(&config(DEFAULT_ROOT_DIR, json!({})), NONE), Swap::Fine);
        assert_eq!(swap(&config(DEFAULT_ROOT_DIR, json!({"failSwapOn": true})), ""), Swap::Fine);
        let mut member = config("/r", json!({}));
        member.kubeconfig = Some("/k".into());
        assert_eq!(swap(&member, ON), Swap::Refused(areas()));
        member.node.is_virtual = true;
        assert_eq!(swap(&member, ON), Swap::Told(areas()));
    }

    #[test]
    fn cgroup_v1_is_refused_when_asked_for_only() {
        let refused = |file: Value, version| refuses_v1(&config("/r", file), version);
        assert!(refused(json!({"failCgroupV1": true}), Version::Hybrid));
        assert!(!refused(json!({"failCgroupV1": true}), Version::V2));
        assert!(!refused(json!({}), Version::V1));
    }

    #[test]
    fn the_agent_is_killed_last_where_the_machine_is_its_own() {
        let of = |root: &str, file: Value| score(&config(root, file));
        assert_eq!(of(DEFAULT_ROOT_DIR, json!({})), Some(-999));
        assert_eq!(of(DEFAULT_ROOT_DIR, json!({"oomScoreAdj": 5})), Some(5));
        assert_eq!((of("/r", json!({})), of("/r", json!({"oomScoreAdj": 0}))), (None, Some(0)));
        let dir = tempfile::tempdir().unwrap();
        adjust(&dir.path().join("score"), -7, true);
        assert_eq!(std::fs::read_to_string(dir.path().join("score")).unwrap(), "-7");
    }
}
