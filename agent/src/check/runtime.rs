//! Judges what the container runtime answered. Pure: whoever calls asks it.

use std::path::Path;

use super::{error, ok, warning};
use crate::runtime::strangers::FIX;
use crate::view::CheckView;

/// What the runtime says of itself, by the CRI calls Version and Status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeAnswer {
    /// Its name, such as `containerd`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The CRI version that it speaks, such as `v1`.
    pub api_version: String,
    /// Its condition RuntimeReady.
    pub runtime_ready: bool,
    /// Its condition NetworkReady.
    pub network_ready: bool,
    /// Sandboxes in it that are a kubelet's; none for a node that takes them over.
    pub strangers: Option<usize>,
    /// The messages of conditions that are not true, joined.
    pub message: String,
}

/// Whether it answers at all. The error is the whole chain of what failed.
#[must_use]
pub fn answers(socket: &Path, answer: &Result<RuntimeAnswer, String>) -> CheckView {
    let socket = socket.display();
    match answer {
        Ok(answer) if answer.api_version == "v1" => {
            ok("runtime", format!("{} {}, CRI v1, at {socket}", answer.name, answer.version))
        }
        Ok(answer) => error(
            "runtime",
            format!("{} {} speaks CRI {:?}", answer.name, answer.version, answer.api_version),
            "use containerd 1.6 or newer, or another runtime with CRI v1",
        ),
        Err(reason) => error("runtime", format!("no answer at {socket}: {reason}"), fix_for(reason)),
    }
}

fn fix_for(reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    if reason.contains("unimplemented") || reason.contains("not implemented") {
        "take \"cri\" out of disabled_plugins in /etc/containerd/config.toml, or use a runtime with CRI v1"
    } else if reason.contains("permission denied") {
        "run as root"
    } else {
        "start it (systemctl start containerd), or name its socket with --container-runtime-endpoint"
    }
}

/// Whether it is ready to run containers.
#[must_use]
pub fn ready(answer: &RuntimeAnswer) -> CheckView {
    if answer.runtime_ready {
        ok("runtime ready", "yes")
    } else {
        let found = format!("no: {}", answer.message);
        error("runtime ready", found, "its log says why: journalctl -u containerd")
    }
}

/// Whether a kubelet uses the runtime of a virtual node.
#[must_use]
pub fn strangers(count: usize) -> CheckView {
    match count {
        0 => ok("pods of a kubelet", "none in this runtime"),
        count => warning("pods of a kubelet", format!("{count} sandboxes in this runtime"), FIX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::CheckLevel::{Error, Ok as Fine};

    fn answer(api_version: &str) -> RuntimeAnswer {
        RuntimeAnswer {
            name: "containerd".to_owned(),
            version: "1.7.2".to_owned(),
            api_version: api_version.to_owned(),
            runtime_ready: true,
            network_ready: true,
            strangers: None,
            message: String::new(),
        }
    }

    #[test]
    fn what_answers_is_judged() {
        let socket = Path::new("/run/x.sock");
        let good = answers(socket, &Ok(answer("v1")));
        assert_eq!((good.level, good.found.as_str()), (Fine, "containerd 1.7.2, CRI v1, at /run/x.sock"));
        assert_eq!(answers(socket, &Ok(answer("v1alpha2"))).level, Error);
        for (reason, fix) in [
            ("connection refused", "systemctl start"),
            ("code: Unimplemented, unknown service", "disabled_plugins"),
            ("Operation is not implemented or not supported: unknown service", "disabled_plugins"),
            ("Permission denied (os error 13)", "run as root"),
        ] {
            let finding = answers(socket, &Err(reason.to_owned()));
            assert_eq!(finding.level, Error);
            assert!(finding.found.contains(reason) && finding.fix.contains(fix), "{finding:?}");
        }
    }

    #[test]
    fn a_virtual_node_is_warned_of_a_kubelets_pods() {
        use crate::view::CheckLevel::Warning;
        assert_eq!(strangers(0).level, Fine);
        let found = strangers(3);
        assert_eq!((found.level, found.found.as_str()), (Warning, "3 sandboxes in this runtime"));
        assert!(found.fix.contains("containerd of their own"));
    }

    #[test]
    fn readiness_is_judged() {
        assert_eq!(ready(&answer("v1")).level, Fine);
        assert_eq!(ready(&RuntimeAnswer { runtime_ready: false, ..answer("v1") }).level, Error);
    }
}
