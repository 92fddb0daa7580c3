//! A containerd that one case has for itself, to kill it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::node::SOON;
use crate::runtime::{CONTAINERD, INSTANCE_PREFIX, Runtime, variable};

/// The instance; wiped when dropped.
pub(crate) struct Own {
    name: String,
    script: PathBuf,
    /// How it is reached.
    pub(crate) runtime: Runtime,
    info: BTreeMap<String, String>,
}

impl Own {
    /// A fresh instance for a case.
    pub(crate) fn start(version: &str, case: &str) -> Self {
        Self::make(version, case, &[])
    }

    /// A fresh instance whose network fails as [`Own::network`] says.
    pub(crate) fn with_faulty_network(version: &str, case: &str) -> Self {
        Self::make(version, case, &[("PINNACE_CNI_FAULTS", "1")])
    }

    fn make(version: &str, case: &str, variables: &[(&str, &str)]) -> Self {
        let script = variable(CONTAINERD).expect("the case is skipped without it");
        let prefix = variable(INSTANCE_PREFIX).expect("the case is skipped without it");
        let name = format!("{prefix}{case}-{}", version.replace('.', "-"));
        let script = PathBuf::from(script);
        // A run that was killed may have left it.
        run(&script, &["wipe", &name]);
        let info = info(&run_with(&script, &["start", &name, version], variables));
        let runtime = Runtime::at(version, &info["socket"]).expect("crictl");
        Self { name, script, runtime, info }
    }

    /// What becomes of the next calls of a CNI command, `ADD` or `DEL`: the words of `deploy/dev/cni-fault`.
    pub(crate) fn network(&self, command: &str, words: &[&str]) {
        let file = Path::new(&self.info["root"]).join("cni-faults").join(command);
        let hidden = file.with_extension("new");
        fs::write(&hidden, words.join("\n") + "\n").expect("a plan of faults");
        fs::rename(hidden, file).expect("the plan in place");
    }

    /// Calls of a CNI command so far.
    pub(crate) fn network_calls(&self, command: &str) -> usize {
        let file = Path::new(&self.info["root"]).join("cni-faults").join(format!("{command}.count"));
        fs::read_to_string(file).map_or(0, |count| count.trim().parse().expect("a number"))
    }

    /// SIGKILL to the daemon.
    pub(crate) fn kill(&self) {
        let info = info(&run(&self.script, &["info", &self.name]));
        let pid = Pid::from_raw(info["pid"].parse().expect("a running daemon"));
        kill(pid, Signal::SIGKILL).expect("the daemon is killed");
        // Until its socket answers nobody.
        while Path::new("/proc").join(pid.to_string()).join("exe").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts the daemon on what it had.
    pub(crate) fn start_again(&self) {
        run(&self.script, &["start", &self.name]);
    }

    /// Waits until the ledger is as it should be.
    pub(crate) fn until(&self, what: &str, done: impl Fn(&Ledger) -> bool) {
        self.until_within(what, SOON, done);
    }

    /// The same with a limit of the caller's.
    pub(crate) fn until_within(&self, what: &str, limit: Duration, done: impl Fn(&Ledger) -> bool) {
        let start = Instant::now();
        loop {
            let now = self.ledger();
            if done(&now) {
                return;
            }
            assert!(start.elapsed() < limit, "left on the machine {what}: {now:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the network holds: namespaces, addresses, ends of veths at the bridge, and bundles of containers.
    pub(crate) fn ledger(&self) -> Ledger {
        let addresses = names(&self.runtime.run_dir().join("ipam").join(&self.info["bridge"]));
        let is_address = |name: &String| name.parse::<std::net::IpAddr>().is_ok();
        let bridge = Path::new("/sys/class/net").join(&self.info["bridge"]).join("brif");
        let bundles = self.runtime.run_dir().join("containerd/io.containerd.runtime.v2.task/k8s.io");
        Ledger {
            namespaces: names(Path::new(&self.info["netns"])),
            addresses: addresses.into_iter().filter(is_address).collect(),
            links: names(&bridge),
            bundles: names(&bundles),
        }
    }
}

/// What is to be as before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) namespaces: Vec<String>,
    pub(crate) addresses: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) bundles: Vec<String>,
}

impl Ledger {
    fn counts(&self) -> [usize; 4] {
        [&self.namespaces, &self.addresses, &self.links, &self.bundles].map(Vec::len)
    }

    /// Of each kind at most `excess` more than before.
    pub(crate) fn is_within(&self, before: &Self, excess: usize) -> bool {
        self.counts().iter().zip(before.counts()).all(|(now, then)| *now <= then + excess)
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [namespaces, addresses, links, bundles] = self.counts();
        write!(
            out,
            "{namespaces} network namespaces, {addresses} addresses, {links} links, {bundles} bundles"
        )
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).args(["wipe", &self.name]).output();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The script's own words on failure.
fn run(script: &Path, args: &[&str]) -> String {
    run_with(script, args, &[])
}

fn run_with(script: &Path, args: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(script);
    let output = command.args(args).envs(variables.iter().copied()).output();
    let output = output.expect("the containerd script runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {args:?}: {errors}", script.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn info(lines: &str) -> BTreeMap<String, String> {
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
