//! What was seen of this machine: texts of the kernel as they are, and answers of the system.

use std::path::PathBuf;

use jiff::Timestamp;

/// Space and inodes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes that are free for everybody.
    pub bytes_free: u64,
    /// Inodes in all; 0 where the file system does not count them.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

/// CNI configuration or plugins that were found in one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Directories that were looked at.
    pub directories: Vec<PathBuf>,
    /// What is in them.
    pub names: Vec<String>,
}

/// A CNI configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniFile {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Everything that was looked at. `None` is a file that is not there.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Effective user id.
    pub euid: u32,
    /// `/proc/sys/kernel/osrelease`.
    pub kernel_release: String,
    /// The wall clock.
    pub wall: Timestamp,
    /// `/proc/self/mounts`.
    pub mounts: String,
    /// `/sys/fs/cgroup/cgroup.controllers`.
    pub cgroup_controllers: Option<String>,
    /// `/proc/cgroups`.
    pub cgroups_v1: String,
    /// `/proc/swaps`.
    pub swaps: String,
    /// `/proc/filesystems`.
    pub filesystems: String,
    /// Whether `/dev/kmsg` can be opened; the error if not.
    pub kmsg: Result<(), String>,
    /// `/proc/sys/fs/inotify/max_user_instances`.
    pub inotify_instances: Option<String>,
    /// `/proc/sys/fs/inotify/max_user_watches`.
    pub inotify_watches: Option<String>,
    /// `/proc/sys/net/ipv4/ip_forward`.
    pub ip_forward: Option<String>,
    /// `/proc/sys/net/bridge/bridge-nf-call-iptables`.
    pub bridge_netfilter: Option<String>,
    /// `/proc/net/tcp` and `/proc/net/tcp6`.
    pub listening: String,
    /// Process ids of programs named `kubelet`.
    pub kubelets: Vec<u32>,
    /// Whether an agent answers at the admin socket of this configuration.
    pub own_agent: bool,
    /// The configuration is a virtual node's.
    pub is_virtual: bool,
    /// Ports that the agent would listen on.
    pub ports: Vec<u16>,
    /// The root directory.
    pub root_dir: PathBuf,
    /// Whether it can be written to, or made; the error if not.
    pub root_dir_writable: Result<(), String>,
    /// The file system that it is on, or would be.
    pub disk: Option<Disk>,
    /// The runtime's socket.
    pub runtime_socket: PathBuf,
    /// The first CNI configuration in name order, and where was looked.
    pub cni_configs: (Vec<PathBuf>, Option<CniFile>),
    /// CNI plugins.
    pub cni_plugins: Listing,
}
