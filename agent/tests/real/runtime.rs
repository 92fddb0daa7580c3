//! One containerd: how it is reached, and what crictl says of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Label of all that a node makes.
const OWNER: &str = "pinnace.dev/owner";

/// Variable: the script that starts and wipes instances.
pub(crate) const CONTAINERD: &str = "PINNACE_TEST_CONTAINERD";
/// Variable: how names of a test's own instances begin.
pub(crate) const INSTANCE_PREFIX: &str = "PINNACE_TEST_INSTANCE_PREFIX";

/// A containerd that serves.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    /// `debian` or `2.2`.
    pub(crate) version: String,
    /// `unix:///path`.
    pub(crate) endpoint: String,
    crictl: PathBuf,
}

/// A variable that `make test` sets.
pub(crate) fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set; run `make test`"))
}

impl Runtime {
    /// The long-lived instance of this version, or what is missing.
    pub(crate) fn named(version: &str) -> Result<Self, String> {
        if !nix::unistd::Uid::effective().is_root() {
            return Err("needs root".to_owned());
        }
        let sockets = variable("PINNACE_TEST_CONTAINERD_SOCKETS")?;
        // For cases that kill their containerd.
        variable(CONTAINERD)?;
        variable(INSTANCE_PREFIX)?;
        let named = sockets.split(',').filter_map(|socket| socket.split_once('='));
        let endpoint = named.into_iter().find(|(name, _)| *name == version).map(|(_, endpoint)| endpoint);
        let endpoint = endpoint.ok_or("PINNACE_TEST_CONTAINERD_SOCKETS does not name it")?;
        Self::at(version, endpoint)
    }

    /// The one at this endpoint.
    pub(crate) fn at(version: &str, endpoint: &str) -> Result<Self, String> {
        let crictl = PathBuf::from(variable("CRICTL")?);
        Ok(Self { version: version.to_owned(), endpoint: endpoint.to_owned(), crictl })
    }

    /// Directory of the instance's sockets, network namespaces and addresses.
    pub(crate) fn run_dir(&self) -> &Path {
        let socket = Path::new(self.endpoint.trim_start_matches("unix://"));
        socket.parent().expect("a socket in a directory")
    }

    fn run(&self, args: &[&str]) -> Output {
        let reach = ["--config", "/dev/null", "-r", &self.endpoint, "-i", &self.endpoint, "-t", "20s"];
        Command::new(&self.crictl).args(reach).args(args).output().expect("crictl runs")
    }

    /// What a command prints, or its error.
    pub(crate) fn try_crictl(&self, args: &[&str]) -> Result<String, String> {
        let output = self.run(args);
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What a command prints.
    pub(crate) fn crictl(&self, args: &[&str]) -> String {
        self.try_crictl(args).unwrap_or_else(|error| panic!("crictl {args:?}: {error}"))
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.crictl(args)).expect("crictl prints JSON")
    }

    /// The sandboxes of a node.
    pub(crate) fn sandboxes(&self, node: &str) -> Vec<Value> {
        self.listed("pods", "items", node)
    }

    /// The containers of a node, ended ones too.
    pub(crate) fn containers(&self, node: &str) -> Vec<Value> {
        self.listed("ps", "containers", node)
    }

    fn listed(&self, what: &str, key: &str, node: &str) -> Vec<Value> {
        let owner = format!("{OWNER}={node}");
        let all: &[&str] = if what == "ps" { &["-a"] } else { &[] };
        let mut list = self.json(&[&[what, "-o", "json", "--label", &owner], all].concat());
        list[key].as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Status of a sandbox.
    pub(crate) fn sandbox(&self, id: &str) -> Value {
        self.json(&["inspectp", "-o", "json", id])
    }

    /// Status of a container.
    pub(crate) fn container(&self, id: &str) -> Value {
        self.json(&["inspect", "-o", "json", id])
    }

    /// Process of a running container.
    pub(crate) fn pid(&self, container: &str) -> u32 {
        let pid = self.container(container)["info"]["pid"].as_u64().expect("a process");
        u32::try_from(pid).expect("a process id")
    }

    /// Removes what a node made, whatever its state.
    pub(crate) fn clear(&self, node: &str) {
        let owner = format!("{OWNER}={node}");
        let listed = self.try_crictl(&["pods", "-q", "--label", &owner]).unwrap_or_default();
        let ids: Vec<_> = listed.split_whitespace().collect();
        if !ids.is_empty() {
            // What stays is wiped with the instance.
            let _ = self.try_crictl(&[&["rmp", "-f"], ids.as_slice()].concat());
        }
    }
}
