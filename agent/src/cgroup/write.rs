//! Makes cgroups, sets what differs, takes them away. Blocks for the kernel's time only; never writes into
//! `cgroup.procs`: processes are put into cgroups by the runtime alone (A53).

use std::io;

use super::amount::Setting;
use super::name::down_to;
use super::tree::Tree;

/// Controllers that the cgroups below get, where the kernel has them. The first three are what limits are made of.
const CONTROLLERS: [&str; 6] = ["cpu", "memory", "pids", "cpuset", "io", "hugetlb"];
/// Levels of a pod's cgroups that are looked at: the runtime makes one, a container may make more.
const DEEPEST: usize = 64;

/// Why a cgroup is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It cannot be made.
    #[error("failed to make cgroup {cgroup}")]
    Make {
        /// Which.
        cgroup: String,
        /// The cause.
        source: io::Error,
    },
    /// It is another's, who has not made it.
    #[error("failed to find cgroup {cgroup}, which {key} names")]
    Absent {
        /// Which.
        cgroup: String,
        /// The key of the configuration.
        key: &'static str,
    },
    /// A file of it cannot be read or written.
    #[error("failed to set {file} of cgroup {cgroup}")]
    Set {
        /// Which.
        cgroup: String,
        /// Which file.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// It cannot be removed.
    #[error("failed to remove cgroup {cgroup}")]
    Remove {
        /// Which.
        cgroup: String,
        /// The cause.
        source: io::Error,
    },
}

/// Makes a cgroup with everything above it, gives each level its controllers, and sets what differs. Returns the names of
/// the files that did; making a cgroup anew names them all.
pub fn ensure(tree: &dyn Tree, cgroup: &str, settings: &[Setting]) -> Result<Vec<String>, WriteError> {
    let mut above = "";
    for level in down_to(cgroup) {
        enable(tree, above)?;
        let made = tree.make(level);
        made.map_err(|source| WriteError::Make { cgroup: level.to_owned(), source })?;
        above = level;
    }
    enable(tree, cgroup)?;
    correct(tree, cgroup, settings)
}

/// Sets what differs in a cgroup of another's, which nobody else makes: its own processes may lie in it, so that only
/// what is above it gets controllers.
pub fn limit(
    tree: &dyn Tree,
    cgroup: &str,
    key: &'static str,
    settings: &[Setting],
) -> Result<Vec<String>, WriteError> {
    if !exists(tree, cgroup) {
        return Err(WriteError::Absent { cgroup: cgroup.to_owned(), key });
    }
    let mut above = "";
    for level in down_to(cgroup) {
        enable(tree, above)?;
        above = level;
    }
    correct(tree, cgroup, settings)
}

/// Gives the cgroups below one its controllers.
fn enable(tree: &dyn Tree, cgroup: &str) -> Result<(), WriteError> {
    const FILE: &str = "cgroup.subtree_control";
    let fault = |source| WriteError::Set { cgroup: cgroup.to_owned(), file: FILE.to_owned(), source };
    let words = |text: Option<String>| -> Vec<String> {
        text.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let has = words(tree.read(cgroup, "cgroup.controllers").map_err(fault)?);
    let given = words(tree.read(cgroup, FILE).map_err(fault)?);
    let missing =
        |name: &str| has.iter().any(|known| known == name) && !given.iter().any(|known| known == name);
    for name in CONTROLLERS.into_iter().filter(|name| missing(name)) {
        match tree.write(cgroup, FILE, &format!("+{name}")) {
            Ok(()) => {}
            // Without these pods run all the same.
            Err(error) if matches!(name, "cpuset" | "io" | "hugetlb") => {
                tracing::debug!(cgroup, controller = name, %error, "a controller cannot be enabled");
            }
            Err(source) => return Err(fault(source)),
        }
    }
    Ok(())
}

/// Sets what differs from what a cgroup has, and names it. A file that is not there belongs to a controller that the
/// kernel does not have, which `pinnace check` tells.
pub fn correct(tree: &dyn Tree, cgroup: &str, settings: &[Setting]) -> Result<Vec<String>, WriteError> {
    let mut set = Vec::new();
    for Setting { file, value } in settings {
        let fault = |source| WriteError::Set { cgroup: cgroup.to_owned(), file: file.clone(), source };
        let Some(found) = tree.read(cgroup, file).map_err(fault)? else { continue };
        if found.trim_end() != value {
            tree.write(cgroup, file, value).map_err(fault)?;
            set.push(file.clone());
        }
    }
    Ok(set)
}

/// Whether a cgroup is there.
pub fn exists(tree: &dyn Tree, cgroup: &str) -> bool {
    matches!(tree.read(cgroup, "cgroup.controllers"), Ok(Some(_)))
}

/// Whether a process is in a cgroup or below it; false if there is no such cgroup.
pub fn is_populated(tree: &dyn Tree, cgroup: &str) -> io::Result<bool> {
    let events = tree.read(cgroup, "cgroup.events")?.unwrap_or_default();
    Ok(events.lines().any(|line| line == "populated 1"))
}

/// What is to happen to processes that are left in a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// They stay, and the cgroup with them.
    Stay,
    /// They are killed, all at once.
    Killed,
}

/// Removes a cgroup with all below it; false if processes keep it, which those that were killed do for a moment.
pub fn remove(tree: &dyn Tree, cgroup: &str, left: Left) -> Result<bool, WriteError> {
    let fault = |source| WriteError::Remove { cgroup: cgroup.to_owned(), source };
    if is_populated(tree, cgroup).map_err(fault)? {
        if left == Left::Stay {
            return Ok(false);
        }
        tree.write(cgroup, "cgroup.kill", "1").map_err(fault)?;
        if is_populated(tree, cgroup).map_err(fault)? {
            return Ok(false);
        }
    }
    match remove_all(tree, cgroup, DEEPEST) {
        Ok(()) => Ok(true),
        // A dead process is in it until its parent has taken note, and another may have come in.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
        Err(source) => Err(fault(source)),
    }
}

fn remove_all(tree: &dyn Tree, cgroup: &str, depth: usize) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or_else(|| io::Error::other("its cgroups are nested too deep"))?;
    for child in tree.children(cgroup)? {
        remove_all(tree, &child, depth)?;
    }
    tree.remove(cgroup)
}

#[cfg(test)]
mod tests {
    use super::super::tree::MemoryTree;
    use super::*;

    const POD: &str = "/kubepods/burstable/podu1";

    fn limits(memory: &str) -> Vec<Setting> {
        let set = |file: &str, value: &str| Setting { file: file.into(), value: value.into() };
        vec![set("memory.max", memory), set("cpu.weight", "20"), set("hugetlb.2MB.max", "0")]
    }

    #[test]
    fn b80_what_was_changed_is_set_right_and_nothing_else() {
        let tree = MemoryTree::default();
        assert_eq!(ensure(&tree, POD, &limits("4096")).unwrap(), ["memory.max", "cpu.weight"]);
        assert_eq!(tree.value(POD, "cgroup.controllers"), "cpu memory pids io");
        assert_eq!(ensure(&tree, POD, &limits("4096")).unwrap(), Vec::<String>::new());
        tree.write(POD, "memory.max", "max").unwrap();
        assert_eq!(correct(&tree, POD, &limits("4096")).unwrap(), ["memory.max"]);
        assert_eq!(tree.value(POD, "memory.max"), "4096");
    }

    #[test]
    fn a_cgroup_of_anothers_is_limited_and_never_made() {
        let tree = MemoryTree::default();
        let key = "kubeReservedCgroup";
        let error = limit(&tree, "/node/kube", key, &limits("4096")).unwrap_err();
        assert_eq!(error.to_string(), "failed to find cgroup /node/kube, which kubeReservedCgroup names");
        assert_eq!(tree.all(), Vec::<String>::new());
        tree.make("/node").unwrap();
        tree.make("/node/kube").unwrap();
        tree.populate("/node/kube", true);
        limit(&tree, "/node", key, &limits("4096")).unwrap();
        assert_eq!(tree.value("/node", "memory.max"), "4096");
        assert_eq!(tree.value("/node", "cgroup.subtree_control"), "", "nothing is given to what is below");
    }

    #[test]
    fn a_cgroup_goes_with_all_below_it() {
        let tree = MemoryTree::default();
        ensure(&tree, &format!("{POD}/c1/inner"), &[]).unwrap();
        assert!(remove(&tree, POD, Left::Stay).unwrap());
        assert_eq!(tree.all(), ["/kubepods", "/kubepods/burstable"]);
        assert!(remove(&tree, POD, Left::Stay).unwrap());
    }

    #[test]
    fn processes_keep_their_cgroup_unless_they_are_to_be_killed() {
        let tree = MemoryTree::default();
        ensure(&tree, POD, &[]).unwrap();
        tree.populate(POD, true);
        assert!(!remove(&tree, POD, Left::Stay).unwrap());
        assert!(exists(&tree, POD));
        assert!(remove(&tree, POD, Left::Killed).unwrap());
        assert!(!exists(&tree, POD));
    }
}
