//! The seam to cgroup v2: directories and small files below one mount. Every call blocks for the kernel's time only.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Largest file that is read here; the ones that are have a line or a few.
const MOST: usize = 64 << 10;

/// A tree of cgroups. Names begin with `/`; the empty name is the root.
pub trait Tree: Debug + Send + Sync + 'static {
    /// Makes one level; one that exists is success.
    fn make(&self, cgroup: &str) -> io::Result<()>;
    /// A file's content; none if the cgroup or the file is not there.
    fn read(&self, cgroup: &str, file: &str) -> io::Result<Option<String>>;
    /// Writes a file that exists.
    fn write(&self, cgroup: &str, file: &str, text: &str) -> io::Result<()>;
    /// The cgroups in one; empty if it is not there.
    fn children(&self, cgroup: &str) -> io::Result<Vec<String>>;
    /// Removes a cgroup without processes and without children; one that is not there is success.
    fn remove(&self, cgroup: &str) -> io::Result<()>;
}

/// The kernel's.
#[derive(Debug, Clone)]
pub struct KernelTree {
    mount: PathBuf,
}

impl KernelTree {
    /// The tree mounted at `mount`.
    #[must_use]
    pub fn new(mount: &Path) -> Self {
        Self { mount: mount.to_owned() }
    }

    fn dir(&self, cgroup: &str) -> PathBuf {
        self.mount.join(cgroup.trim_start_matches('/'))
    }
}

fn unless_absent<T>(result: io::Result<T>, absent: T) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(absent),
        result => result,
    }
}

impl Tree for KernelTree {
    fn make(&self, cgroup: &str) -> io::Result<()> {
        match std::fs::create_dir(self.dir(cgroup)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn read(&self, cgroup: &str, file: &str) -> io::Result<Option<String>> {
        let mut text = unless_absent(std::fs::read_to_string(self.dir(cgroup).join(file)).map(Some), None)?;
        if let Some(text) = &mut text {
            text.truncate(text.floor_char_boundary(MOST));
        }
        Ok(text)
    }

    fn write(&self, cgroup: &str, file: &str, text: &str) -> io::Result<()> {
        use std::io::Write;
        // Never made by us: a name that the kernel does not know is an error.
        let mut file = std::fs::OpenOptions::new().write(true).open(self.dir(cgroup).join(file))?;
        file.write_all(text.as_bytes())
    }

    fn children(&self, cgroup: &str) -> io::Result<Vec<String>> {
        let Some(entries) = unless_absent(std::fs::read_dir(self.dir(cgroup)).map(Some), None)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                found.push(format!("{cgroup}/{name}"));
            }
        }
        Ok(found)
    }

    fn remove(&self, cgroup: &str) -> io::Result<()> {
        unless_absent(std::fs::remove_dir(self.dir(cgroup)), ())
    }
}

/// A tree in memory, for tests.
#[derive(Debug)]
pub struct MemoryTree {
    cgroups: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Default for MemoryTree {
    fn default() -> Self {
        let tree = Self { cgroups: Mutex::default() };
        tree.lock().insert(String::new(), fresh("cpu io memory pids"));
        tree
    }
}

fn fresh(controllers: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([
        ("cgroup.controllers".to_owned(), controllers.to_owned()),
        ("cgroup.subtree_control".to_owned(), String::new()),
        ("cgroup.events".to_owned(), "populated 0\nfrozen 0\n".to_owned()),
        ("cgroup.kill".to_owned(), String::new()),
        ("cgroup.freeze".to_owned(), "0\n".to_owned()),
    ]);
    let known = [("cpu", "cpu.weight", "100"), ("cpu", "cpu.max", "max 100000"), ("pids", "pids.max", "max")];
    for (controller, file, value) in known.into_iter().chain([("memory", "memory.max", "max")]) {
        if controllers.split_whitespace().any(|name| name == controller) {
            files.insert(file.to_owned(), format!("{value}\n"));
        }
    }
    files
}

impl MemoryTree {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, String>>> {
        self.cgroups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All cgroups but the root.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.lock().keys().filter(|name| !name.is_empty()).cloned().collect()
    }

    /// A file's content without its line end; empty if there is none.
    #[must_use]
    pub fn value(&self, cgroup: &str, file: &str) -> String {
        let text = self.lock().get(cgroup).and_then(|files| files.get(file)).cloned();
        text.unwrap_or_default().trim_end().to_owned()
    }

    /// Puts a process in, or takes the last one out.
    pub fn populate(&self, cgroup: &str, populated: bool) {
        let text = format!("populated {}\nfrozen 0\n", u8::from(populated));
        if let Some(files) = self.lock().get_mut(cgroup) {
            files.insert("cgroup.events".to_owned(), text);
        }
    }
}

/// Gives what is in a cgroup already its controllers.
fn give_below(cgroups: &mut BTreeMap<String, BTreeMap<String, String>>, cgroup: &str, controllers: &str) {
    let below = |name: &str| name.strip_prefix(cgroup).is_some_and(|rest| rest.rfind('/') == Some(0));
    for (_, files) in cgroups.iter_mut().filter(|(name, _)| below(name)) {
        files.insert("cgroup.controllers".to_owned(), controllers.to_owned());
        for (file, value) in fresh(controllers) {
            files.entry(file).or_insert(value);
        }
    }
}

impl Tree for MemoryTree {
    fn make(&self, cgroup: &str) -> io::Result<()> {
        let mut cgroups = self.lock();
        if cgroups.contains_key(cgroup) {
            return Ok(());
        }
        let (above, _) = cgroup.rsplit_once('/').ok_or(io::ErrorKind::InvalidInput)?;
        let above = cgroups.get(above).ok_or(io::ErrorKind::NotFound)?;
        let enabled = above.get("cgroup.subtree_control").cloned().unwrap_or_default();
        cgroups.insert(cgroup.to_owned(), fresh(&enabled));
        Ok(())
    }

    fn read(&self, cgroup: &str, file: &str) -> io::Result<Option<String>> {
        Ok(self.lock().get(cgroup).and_then(|files| files.get(file)).cloned())
    }

    fn write(&self, cgroup: &str, file: &str, text: &str) -> io::Result<()> {
        let mut cgroups = self.lock();
        let files = cgroups.get_mut(cgroup).ok_or(io::ErrorKind::NotFound)?;
        let content = files.get_mut(file).ok_or(io::ErrorKind::NotFound)?;
        match file {
            "cgroup.subtree_control" => {
                let enabled: Vec<_> =
                    text.split_whitespace().map(|word| word.trim_start_matches('+')).collect();
                *content = format!("{content} {}", enabled.join(" ")).trim().to_owned();
                let controllers = content.clone();
                give_below(&mut cgroups, cgroup, &controllers);
            }
            "cgroup.kill" => {
                files.insert("cgroup.events".to_owned(), "populated 0\nfrozen 0\n".to_owned());
            }
            _ => *content = format!("{text}\n"),
        }
        Ok(())
    }

    fn children(&self, cgroup: &str) -> io::Result<Vec<String>> {
        let inside =
            |name: &&String| name.strip_prefix(cgroup).is_some_and(|rest| rest.rfind('/') == Some(0));
        Ok(self.lock().keys().filter(inside).cloned().collect())
    }

    fn remove(&self, cgroup: &str) -> io::Result<()> {
        let inhabited = self.read(cgroup, "cgroup.events")?.is_some_and(|text| text.contains("populated 1"));
        if inhabited || !self.children(cgroup)?.is_empty() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.lock().remove(cgroup);
        Ok(())
    }
}
