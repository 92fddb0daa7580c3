//! Looks at this machine. Reads only; what cannot be read is left out or becomes a reason, never a failure.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::unistd::AccessFlags;

use super::observed::{CniFile, Disk, Listing, Observed};

/// Where runtimes look for CNI configuration by default.
const CNI_CONFIGS: [&str; 1] = ["/etc/cni/net.d"];
/// Where runtimes look for CNI plugins by default; the second is Debian's.
const CNI_PLUGINS: [&str; 2] = ["/opt/cni/bin", "/usr/lib/cni"];

/// What of the configuration is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Root directory.
    pub root_dir: PathBuf,
    /// The runtime's socket.
    pub runtime_socket: PathBuf,
    /// Socket of the agent.
    pub admin_socket: PathBuf,
    /// The configuration is a virtual node's.
    pub is_virtual: bool,
    /// Ports that the agent would listen on.
    pub ports: Vec<u16>,
}

/// Everything at once. `wall` is the wall clock.
#[must_use]
pub fn observe(targets: &Targets, wall: Timestamp) -> Observed {
    Observed {
        euid: nix::unistd::geteuid().as_raw(),
        kernel_release: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
        wall,
        mounts: text("/proc/self/mounts").unwrap_or_default(),
        cgroup_controllers: text("/sys/fs/cgroup/cgroup.controllers"),
        cgroups_v1: text("/proc/cgroups").unwrap_or_default(),
        swaps: text("/proc/swaps").unwrap_or_default(),
        filesystems: text("/proc/filesystems").unwrap_or_default(),
        kmsg: File::open("/dev/kmsg").map(drop).map_err(|error| error.to_string()),
        inotify_instances: text("/proc/sys/fs/inotify/max_user_instances"),
        inotify_watches: text("/proc/sys/fs/inotify/max_user_watches"),
        ip_forward: text("/proc/sys/net/ipv4/ip_forward"),
        bridge_netfilter: text("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        listening: ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(text).collect(),
        kubelets: processes_named("kubelet"),
        own_agent: UnixStream::connect(&targets.admin_socket).is_ok(),
        is_virtual: targets.is_virtual,
        ports: targets.ports.clone(),
        root_dir: targets.root_dir.clone(),
        root_dir_writable: writable(&targets.root_dir),
        disk: disk(&targets.root_dir),
        runtime_socket: targets.runtime_socket.clone(),
        cni_configs: (CNI_CONFIGS.map(PathBuf::from).into(), cni_config()),
        cni_plugins: Listing {
            directories: CNI_PLUGINS.map(PathBuf::from).into(),
            names: CNI_PLUGINS.into_iter().flat_map(|path| names(Path::new(path))).collect(),
        },
    }
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Names in a directory, sorted; none if it cannot be read.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The file that a runtime takes: the first in name order with one of the three endings.
fn cni_config() -> Option<CniFile> {
    let is_config = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "conflist" || ending == "conf" || ending == "json")
    };
    let all = |directory: &str| {
        names(Path::new(directory))
            .into_iter()
            .map(|name| Path::new(directory).join(name))
            .collect::<Vec<_>>()
    };
    let path = CNI_CONFIGS.into_iter().flat_map(all).find(is_config)?;
    Some(CniFile { text: text(&path).unwrap_or_default(), path })
}

fn processes_named(name: &str) -> Vec<u32> {
    let ids = names(Path::new("/proc")).into_iter().filter_map(|name| name.parse::<u32>().ok());
    ids.filter(|id| text(format!("/proc/{id}/comm")).is_some_and(|comm| comm.trim() == name)).collect()
}

/// The directory itself, or the nearest one above that is there.
fn nearest(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.is_dir())
}

fn writable(root_dir: &Path) -> Result<(), String> {
    if fs::symlink_metadata(root_dir).is_ok() && !root_dir.is_dir() {
        return Err("is not a directory".to_owned());
    }
    let nearest = nearest(root_dir).ok_or_else(|| "has no parent directory".to_owned())?;
    nix::unistd::access(nearest, AccessFlags::W_OK).map_err(|code| io::Error::from(code).to_string())
}

fn disk(root_dir: &Path) -> Option<Disk> {
    let seen = nix::sys::statvfs::statvfs(nearest(root_dir)?).ok()?;
    Some(Disk {
        bytes: seen.blocks().saturating_mul(seen.fragment_size()),
        bytes_free: seen.blocks_available().saturating_mul(seen.fragment_size()),
        inodes: seen.files(),
        inodes_free: seen.files_available(),
    })
}
