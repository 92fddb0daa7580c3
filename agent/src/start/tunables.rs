//! The kernel's settings at a start: set right, only looked at, or left alone.

use std::path::Path;

use super::StartError;
use crate::config::effective::Config;
use crate::config::flags::DEFAULT_ROOT_DIR;
use crate::host::tunables::{ROOT, set, wrong};

/// What to do about settings that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// Set them.
    Set,
    /// Refuse to start (`protectKernelDefaults`).
    Refuse,
    /// Nothing: the machine is not this node's alone.
    Leave,
}

/// Sees to the settings of this machine.
pub(super) fn settle(config: &Config) -> Result<(), StartError> {
    settle_in(Path::new(ROOT), treatment(config))
}

/// A virtual node is a guest, and an instance in a directory of its own is one beside another or a trial: neither
/// changes what the whole machine goes by.
fn treatment(config: &Config) -> Treatment {
    if config.node.is_virtual {
        Treatment::Leave
    } else if config.file.protect_kernel_defaults.unwrap_or(false) {
        Treatment::Refuse
    } else if config.root_dir == Path::new(DEFAULT_ROOT_DIR) {
        Treatment::Set
    } else {
        Treatment::Leave
    }
}

fn settle_in(root: &Path, treatment: Treatment) -> Result<(), StartError> {
    if treatment == Treatment::Leave {
        return Ok(());
    }
    let found = wrong(root);
    if treatment == Treatment::Refuse && !found.is_empty() {
        let told: Vec<_> = found.iter().map(ToString::to_string).collect();
        return Err(StartError::Kernel(told.join("; ")));
    }
    for wrong in &found {
        match set(root, wrong) {
            Ok(()) => tracing::info!("kernel setting: {wrong}, set"),
            // Pods run all the same.
            Err(error) => tracing::warn!(%error, "kernel setting: {wrong}, and cannot be set"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tunables::TUNABLES;

    #[test]
    fn only_the_machines_own_node_changes_it() {
        let of = |root: &str, is_virtual, protect| {
            let mut config = Config::defaults("n", Path::new(root)).unwrap();
            config.node.is_virtual = is_virtual;
            config.file.protect_kernel_defaults = Some(protect);
            treatment(&config)
        };
        assert_eq!(of(DEFAULT_ROOT_DIR, false, false), Treatment::Set);
        assert_eq!(of(DEFAULT_ROOT_DIR, false, true), Treatment::Refuse);
        assert_eq!(of("/r", false, true), Treatment::Refuse);
        assert_eq!(of("/r", false, false), Treatment::Leave);
        assert_eq!(of(DEFAULT_ROOT_DIR, true, true), Treatment::Leave);
    }

    #[test]
    fn a_protected_kernel_that_differs_is_a_start_up_error_and_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        for (name, value) in TUNABLES {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, value).unwrap();
        }
        settle_in(root.path(), Treatment::Refuse).unwrap();
        let panic = root.path().join("kernel/panic");
        std::fs::write(&panic, "0").unwrap();
        let error = settle_in(root.path(), Treatment::Refuse).unwrap_err().to_string();
        assert!(error.ends_with("kernel.panic is 0, expected 10"), "{error}");
        settle_in(root.path(), Treatment::Leave).unwrap();
        assert_eq!(std::fs::read_to_string(&panic).unwrap(), "0");
        settle_in(root.path(), Treatment::Set).unwrap();
        assert_eq!(std::fs::read_to_string(&panic).unwrap(), "10");
    }
}
