//! What a fake is made with, and what can be switched while it runs.

use crate::content::Ingest;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::clock::DEFAULT_WALL_BASE;
use crate::v1::CgroupDriver;

/// Where the output of containers goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    /// Only into memory, where [`super::Snapshot`] shows it: nothing waits for a disk, as virtual time needs.
    Memory,
    /// Also into files in the CRI format, where the sandbox and the container name a place.
    Files,
}

/// What a fake is made with; it does not change later.
#[derive(Debug, Clone)]
pub struct Options {
    /// Ids follow from it.
    pub seed: u64,
    /// Wall clock at the birth of the fake, in nanoseconds since 1970.
    pub wall_base: i64,
    /// Where the output of containers goes.
    pub logs: Logs,
    /// Directory under which a relative log directory is taken, and the mount point that the image file
    /// system reports.
    pub root: PathBuf,
    /// Time from the death of a process until the runtime shows EXITED; containerd takes some 50 ms.
    pub exit_visible_after: Duration,
    /// Pod addresses are taken from the /16 that this address is in.
    pub pod_subnet: Ipv4Addr,
    /// Images that are there from the start.
    pub images: Vec<String>,
    /// Name in the answer of `Version`.
    pub runtime_name: String,
    /// Version in the answer of `Version`.
    pub runtime_version: String,
    /// Runtime handlers that exist; the empty name is the default one.
    pub runtime_handlers: Vec<String>,
    /// Longest answer in bytes; a longer one becomes ResourceExhausted. containerd and the kubelet use 16 MiB.
    pub max_message_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            wall_base: DEFAULT_WALL_BASE,
            logs: Logs::Memory,
            root: PathBuf::from("/var/lib/fake-cri"),
            exit_visible_after: Duration::ZERO,
            pod_subnet: Ipv4Addr::new(10, 88, 0, 0),
            images: ["pinnace.local/busybox:1.35", "pinnace.local/pause:1"].map(str::to_owned).to_vec(),
            runtime_name: "fake-cri".to_owned(),
            runtime_version: "1.0.0".to_owned(),
            runtime_handlers: vec![String::new()],
            max_message_bytes: 16 * 1024 * 1024,
        }
    }
}

/// What can be switched while the fake runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switches {
    /// Whether `GetContainerEvents` is offered; if not it answers Unimplemented.
    pub events: bool,
    /// Whether containerd's own events are offered, as the containerds before CRI's event stream do.
    pub task_events: bool,
    /// Whether the `Stream*` lists are offered; if not they answer Unimplemented.
    pub list_streaming: bool,
    /// The driver in the answer of `RuntimeConfig`; none makes it answer Unimplemented.
    pub cgroup_driver: Option<CgroupDriver>,
    /// The condition `RuntimeReady` of `Status`.
    pub runtime_ready: bool,
    /// The condition `NetworkReady` of `Status`.
    pub network_ready: bool,
    /// Whether an image that nobody seeded can be pulled; if not, its pull answers NotFound.
    pub pull_any_image: bool,
    /// What containerd's content service says is being written; none for a runtime without that service.
    pub ingests: Option<Vec<Ingest>>,
    /// What every runtime handler says of user namespaces.
    pub user_namespaces: bool,
    /// What `Status` says of `supplementalGroupsPolicy`; none for a runtime that tells no features.
    pub supplemental_groups_policy: Option<bool>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            events: true,
            task_events: false,
            list_streaming: true,
            cgroup_driver: Some(CgroupDriver::Cgroupfs),
            runtime_ready: true,
            network_ready: true,
            pull_any_image: true,
            ingests: None,
            user_namespaces: false,
            supplemental_groups_policy: Some(false),
        }
    }
}
