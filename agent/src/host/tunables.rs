//! Settings of the kernel that pods rely on: memory is never refused beforehand, running out of it kills a process and
//! not the machine, and a machine that panics comes back (`setupKernelTunables` in `pkg/kubelet/cm`).

use std::io;
use std::path::Path;

/// Where the kernel's settings are.
pub const ROOT: &str = "/proc/sys";
/// Each setting by its file below [`ROOT`], and its value (`k8s.io/component-helpers/node/util/sysctl`).
pub const TUNABLES: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// A setting that is not as it should be.
#[derive(Debug)]
pub struct Wrong {
    /// Its file below [`ROOT`].
    pub name: &'static str,
    /// What it should be.
    pub wanted: &'static str,
    /// What it is; an error if it cannot be read.
    pub found: io::Result<String>,
}

/// Settings below `root` that differ. One that cannot be read differs.
#[must_use]
pub fn wrong(root: &Path) -> Vec<Wrong> {
    let looked = TUNABLES.into_iter().map(|(name, wanted)| {
        let found = std::fs::read_to_string(root.join(name)).map(|text| text.trim().to_owned());
        Wrong { name, wanted, found }
    });
    looked.filter(|wrong| wrong.found.as_ref().ok().is_none_or(|found| found != wrong.wanted)).collect()
}

/// Sets one right.
pub fn set(root: &Path, wrong: &Wrong) -> io::Result<()> {
    use std::io::Write;
    // Never makes a file: a setting that the kernel does not have is an error.
    let mut file = std::fs::OpenOptions::new().write(true).open(root.join(wrong.name))?;
    file.write_all(wrong.wanted.as_bytes())
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name.replace('/', ".");
        match &self.found {
            Ok(found) => write!(out, "{name} is {found}, expected {}", self.wanted),
            Err(error) => write!(out, "{name} cannot be read: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proc_sys(values: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, value) in values {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, format!("{value}\n")).unwrap();
        }
        root
    }

    #[test]
    fn what_differs_is_named_and_set_right() {
        let mut values = TUNABLES;
        values[0].1 = "0";
        values[2].1 = "0";
        let root = proc_sys(&values);
        let found = wrong(root.path());
        let told: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["vm.overcommit_memory is 0, expected 1", "kernel.panic is 0, expected 10"]);
        for wrong in &found {
            set(root.path(), wrong).unwrap();
        }
        assert!(wrong(root.path()).is_empty());
    }

    #[test]
    fn a_setting_that_the_kernel_lacks_is_not_made() {
        let root = proc_sys(&TUNABLES[1..]);
        let found = wrong(root.path());
        assert!(found[0].to_string().starts_with("vm.overcommit_memory cannot be read: "), "{found:?}");
        assert!(set(root.path(), &found[0]).is_err());
        assert!(!root.path().join(TUNABLES[0].0).exists());
    }
}
