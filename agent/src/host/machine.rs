//! Reads this machine: the thin part that touches files and calls the system. What it reads goes to the parsers.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use nix::net::if_::InterfaceFlags;

use super::address::{InterfaceAddress, Network};
use super::{cpu, hugepages, identity, memory, route};

/// What the machine is. Changes seldom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Processors that are online; at least one.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: i64,
    /// Swap in bytes.
    pub swap: i64,
    /// Bytes set aside in huge pages, by page size in bytes. A size without pages is there with zero.
    pub hugepages: BTreeMap<i64, i64>,
    /// Size of the file system of the root directory, in bytes; none if it cannot be read.
    pub storage: Option<i64>,
    /// The installation's id; empty if it has none.
    pub machine_id: String,
    /// The hardware's id; the installation's where there is none.
    pub system_uuid: String,
    /// The boot's id.
    pub boot_id: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Name of the system.
    pub os_image: String,
}

/// What is asked of the machine. Every call may block on a slow file system or name server.
pub trait Host: Send + Sync {
    /// What the machine is.
    fn machine(&self) -> io::Result<Machine>;
    /// What its network looks like now.
    fn network(&self) -> io::Result<Network>;
    /// What a name resolves to; empty if it does not.
    fn resolve(&self, name: &str) -> Vec<IpAddr>;
}

/// The machine that this runs on.
#[derive(Debug, Clone)]
pub struct ThisHost {
    root_dir: PathBuf,
}

impl ThisHost {
    /// The machine, with the file system that holds `root_dir` as its storage.
    #[must_use]
    pub fn new(root_dir: &Path) -> Self {
        Self { root_dir: root_dir.to_owned() }
    }
}

impl Host for ThisHost {
    fn machine(&self) -> io::Result<Machine> {
        let meminfo = std::fs::read_to_string("/proc/meminfo")?;
        let no_memory = || io::Error::other("/proc/meminfo has no MemTotal line");
        let machine_id = first_id(&["/etc/machine-id", "/var/lib/dbus/machine-id"]).unwrap_or_default();
        let hardware = first_id(&[
            "/sys/class/dmi/id/product_uuid",
            "/proc/device-tree/system-id",
            "/proc/device-tree/vm,uuid",
        ]);
        Ok(Machine {
            cpus: cpus(),
            memory: memory::total(&meminfo).ok_or_else(no_memory)?,
            swap: memory::swap(&meminfo),
            hugepages: all_hugepages(Path::new("/sys/kernel/mm/hugepages")),
            storage: storage(&self.root_dir),
            system_uuid: hardware.unwrap_or_else(|| machine_id.clone()),
            machine_id,
            boot_id: first_id(&["/proc/sys/kernel/random/boot_id"]).unwrap_or_default(),
            kernel: kernel(),
            os_image: os_image(),
        })
    }

    fn network(&self) -> io::Result<Network> {
        let found = nix::ifaddrs::getifaddrs().map_err(io::Error::from)?;
        let addresses = found.filter_map(|entry| {
            let ip = ip(&entry.address?)?;
            Some(InterfaceAddress {
                interface: entry.interface_name,
                ip,
                up: entry.flags.contains(InterfaceFlags::IFF_UP),
                loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            })
        });
        // A kernel without one of the families has no such file.
        let table = |path| std::fs::read_to_string(path).unwrap_or_default();
        Ok(Network {
            addresses: addresses.collect(),
            default_v4: route::default_v4(&table("/proc/net/route")),
            default_v6: route::default_v6(&table("/proc/net/ipv6_route")),
        })
    }

    fn resolve(&self, name: &str) -> Vec<IpAddr> {
        (name, 0)
            .to_socket_addrs()
            .map(|found| found.map(|address| address.ip()).collect())
            .unwrap_or_default()
    }
}

fn ip(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

fn first_id(paths: &[&str]) -> Option<String> {
    paths.iter().find_map(|path| identity::id(&std::fs::read_to_string(path).ok()?))
}

fn cpus() -> u32 {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let online = cpu::online(&read("/sys/devices/system/cpu/online"));
    online.or_else(|| cpu::listed(&read("/proc/cpuinfo"))).unwrap_or(1)
}

fn all_hugepages(directory: &Path) -> BTreeMap<i64, i64> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let size = hugepages::page_size(entry.file_name().to_str()?)?;
        let pages = std::fs::read_to_string(entry.path().join("nr_hugepages")).ok()?;
        Some((size, hugepages::total(size, &pages)?))
    });
    sizes.collect()
}

/// The file system may not hold the directory yet; its nearest ancestor is on the same one.
fn storage(directory: &Path) -> Option<i64> {
    let seen = directory.ancestors().find_map(|path| nix::sys::statvfs::statvfs(path).ok())?;
    let bytes = seen.blocks().checked_mul(seen.fragment_size())?;
    i64::try_from(bytes).ok()
}

fn kernel() -> String {
    let release = nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned());
    release.unwrap_or_default()
}

fn os_image() -> String {
    let text =
        ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| std::fs::read_to_string(path).ok());
    identity::os_image(&text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let host = ThisHost::new(Path::new("/var/lib/no/such/directory"));
        let machine = host.machine().unwrap();
        assert!(machine.cpus > 0 && machine.memory > 1 << 20, "{machine:?}");
        assert!(machine.storage.is_some_and(|bytes| bytes > 0), "{machine:?}");
        assert!(!machine.kernel.is_empty() && !machine.boot_id.is_empty(), "{machine:?}");
        let network = host.network().unwrap();
        assert!(network.addresses.iter().any(|address| address.loopback), "{network:?}");
    }
}
