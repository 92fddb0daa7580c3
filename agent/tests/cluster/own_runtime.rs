//! A containerd that one case has for itself.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::runtime::{CONTAINERD, INSTANCE_PREFIX, Runtime, variable};

/// The instance; wiped when dropped.
pub(crate) struct OwnRuntime {
    name: String,
    script: PathBuf,
    /// How it is reached.
    pub(crate) runtime: Runtime,
}

impl OwnRuntime {
    /// A fresh instance for a case.
    pub(crate) fn start(version: &str, case: &str) -> Self {
        let script = PathBuf::from(variable(CONTAINERD).expect("make test names the script"));
        let name = variable(INSTANCE_PREFIX).expect("make test names the prefix") + case;
        // A run that was killed may have left it.
        run(&script, &["wipe", &name]).expect("the old one goes");
        let told = run(&script, &["start", &name, version]).expect("a containerd");
        let socket = told.lines().find_map(|line| line.strip_prefix("socket=")).expect("its socket");
        let runtime = Runtime::at(version, socket).expect("crictl");
        Self { name, script, runtime }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // What stays is wiped with the instances of `make test`.
        let _ = run(&self.script, &["wipe", &self.name]);
    }
}

fn run(script: &PathBuf, args: &[&str]) -> Result<String, String> {
    let output = Command::new(script).args(args).stdin(Stdio::null()).output().expect("the script runs");
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("containerd {args:?}: {}", String::from_utf8_lossy(&output.stderr)))
}
