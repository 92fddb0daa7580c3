//! Everything on the machine that belongs to one pod, noted while it runs, to be looked for after it is gone.

use std::fs;
use std::path::{Path, PathBuf};

use crate::node::{Node, SOON};

/// What a running pod has.
#[derive(Debug)]
pub(crate) struct Traces {
    /// Sandbox and containers, by id.
    ids: Vec<String>,
    /// Files and directories: netns, address, logs, the agent's directory of the pod, cgroups, bundles.
    paths: Vec<PathBuf>,
    /// Index of the host's end of its veth.
    link: u32,
}

impl Traces {
    /// Of a running pod with a network of its own.
    pub(crate) fn of(node: &Node, pod: &str) -> Self {
        let view = node.pod(pod).expect("a pod");
        let listed = node.runtime.sandboxes(&node.name);
        let sandbox =
            listed.iter().find(|sandbox| sandbox["metadata"]["uid"] == view.uid.as_str()).expect("a sandbox");
        let sandbox = sandbox["id"].as_str().expect("an id").to_owned();
        let status = node.runtime.sandbox(&sandbox);
        let all = node.containers();
        let containers = all.iter().filter(|container| container.pod == view.name);
        let containers: Vec<String> = containers.filter_map(|container| container.id.clone()).collect();
        assert!(!containers.is_empty(), "a pod with containers");
        let run = node.runtime.run_dir();
        let mut paths = vec![netns(&status), address(run, view.ip.as_deref().expect("an address"))];
        paths.push(node.root().join("pods").join(&view.uid));
        paths.push(node.pod_logs().join(format!("{}_{}_{}", view.namespace, view.name, view.uid)));
        let link = node.runtime.crictl(&["exec", &containers[0], "cat", "/sys/class/net/eth0/iflink"]);
        let link = link.trim().parse().expect("the index of an interface");
        let pids = containers.iter().map(|id| node.runtime.pid(id));
        paths.extend(pids.flat_map(cgroups));
        let ids: Vec<_> = std::iter::once(sandbox).chain(containers).collect();
        let bundles = run.join("containerd/io.containerd.runtime.v2.task/k8s.io");
        paths.extend(ids.iter().map(|id| bundles.join(id)));
        let missing: Vec<_> = paths.iter().filter(|path| path.symlink_metadata().is_err()).collect();
        assert!(
            missing.is_empty() && links().contains(&link),
            "a running pod has {missing:?}, interface {link}"
        );
        Self { ids, paths, link }
    }

    /// Waits until nothing of it is left.
    pub(crate) fn until_gone(&self, node: &Node) {
        node.until(&format!("nothing is left of {self:?}"), SOON, |node| self.left(node).is_empty());
    }

    /// What there is of it.
    fn left(&self, node: &Node) -> Vec<String> {
        let there = self.paths.iter().filter(|path| path.symlink_metadata().is_ok());
        let mut left: Vec<_> = there.map(|path| path.display().to_string()).collect();
        if links().contains(&self.link) {
            left.push(format!("interface {}", self.link));
        }
        let shims = shims();
        left.extend(
            shims.iter().filter(|(_, id)| self.ids.contains(id)).map(|(pid, _)| format!("shim {pid}")),
        );
        let lists = [node.runtime.sandboxes(&node.name), node.runtime.containers(&node.name)].concat();
        let known = lists.iter().filter_map(|item| item["id"].as_str());
        left.extend(
            known.filter(|id| self.ids.iter().any(|ours| ours == id)).map(|id| format!("runtime: {id}")),
        );
        left
    }
}

fn netns(sandbox: &serde_json::Value) -> PathBuf {
    let namespaces = sandbox["info"]["runtimeSpec"]["linux"]["namespaces"].as_array().expect("namespaces");
    let network =
        namespaces.iter().find(|namespace| namespace["type"] == "network").expect("a network namespace");
    PathBuf::from(network["path"].as_str().expect("a path"))
}

/// The file by which host-local keeps an address.
fn address(run: &Path, ip: &str) -> PathBuf {
    let networks = fs::read_dir(run.join("ipam")).expect("addresses");
    let mut files = networks.map(|network| network.expect("an entry").path().join(ip));
    files.find(|file| file.exists()).expect("the address is kept")
}

/// The directories of a process's cgroups, whichever the hierarchy.
pub(crate) fn cgroups(pid: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroups of a process");
    let dirs = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let hierarchy = controllers.trim_start_matches("name=");
        Some(Path::new("/sys/fs/cgroup").join(hierarchy).join(path.trim_start_matches('/')))
    });
    dirs.filter(|dir| dir.is_dir() && dir.components().count() > 5).collect()
}

/// Indexes of the machine's interfaces.
fn links() -> Vec<u32> {
    let links = fs::read_dir("/sys/class/net").expect("interfaces");
    let index = |path: PathBuf| fs::read_to_string(path.join("ifindex")).ok()?.trim().parse().ok();
    links.filter_map(|link| index(link.ok()?.path())).collect()
}

/// Shims: process id and the id of what it was started for.
pub(crate) fn shims() -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let shim = |pid: u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<_> = line.split('\0').collect();
        let at = words.iter().position(|word| *word == "-id")?;
        let is_shim = words.first()?.contains("containerd-shim");
        is_shim.then(|| words.get(at + 1).map(|id| (pid, (*id).to_owned()))).flatten()
    };
    processes.filter_map(|entry| shim(entry.file_name().to_str()?.parse().ok()?)).collect()
}
