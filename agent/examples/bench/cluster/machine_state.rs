//! What a kubelet changes on the machine beside its directories: kernel settings, and cgroups below one of its own, as
//! it ends every process that it finds below its root and does not know. Put back when dropped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pinnace::host::tunables::{ROOT, TUNABLES};

/// The kubelet's root in every cgroup hierarchy.
pub(super) const CGROUP: &str = "/pinnace-bench";

pub(super) struct MachineState {
    settings: Vec<(PathBuf, String)>,
    cgroups: Vec<PathBuf>,
}

impl MachineState {
    pub(super) fn prepare() -> Result<Self> {
        let files = TUNABLES.iter().map(|(name, _)| Path::new(ROOT).join(name));
        let settings =
            files.filter_map(|file| Some((file.clone(), fs::read_to_string(file).ok()?))).collect();
        let mut cgroups = Vec::new();
        for root in hierarchies()? {
            let dir = root.join(CGROUP.trim_start_matches('/'));
            fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
            cgroups.push(dir);
        }
        Ok(Self { settings, cgroups })
    }
}

/// The one of version 2, or all of version 1, that of version 2 beside them included: runtimes use it too.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let base = PathBuf::from("/sys/fs/cgroup");
    if base.join("cgroup.controllers").exists() {
        return Ok(vec![base]);
    }
    let mut roots = Vec::new();
    for entry in fs::read_dir(&base)? {
        let path = entry?.path();
        if path.join("cgroup.procs").exists() {
            roots.push(path);
        }
    }
    Ok(roots)
}

impl Drop for MachineState {
    fn drop(&mut self) {
        for (file, value) in &self.settings {
            if fs::read_to_string(file).is_ok_and(|now| now != *value)
                && let Err(error) = fs::write(file, value)
            {
                eprintln!("bench: failed to put back {}: {error}", file.display());
            }
        }
        for dir in &self.cgroups {
            remove(dir);
        }
    }
}

/// A cgroup directory goes by rmdir alone, the innermost first.
fn remove(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path.is_dir()) {
        remove(&path);
    }
    let _ = fs::remove_dir(dir);
}
