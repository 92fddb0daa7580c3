//! Where a pod's files are. Pure; the only place that makes paths out of names.
//!
//! Log paths are the kubelet's, which `kubectl logs`, crictl and log collectors rely on:
//! `<pod logs>/<namespace>_<pod>_<uid>/<container>/<attempt>.log`.

use std::path::{Component, Path, PathBuf};

use pinnace_cri::id::PodUid;

use crate::volume::plan::Plugin;

/// Name of the directory of a pod's volumes.
pub const VOLUMES: &str = "volumes";
/// Name of the directory of what containers are shown of a part of a volume
/// (`pkg/volume/util/subpath/subpath_linux.go`).
pub const SUB_PATHS: &str = "volume-subpaths";

/// The directories of one instance of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// `--root-dir`.
    pub root: PathBuf,
    /// `podLogsDir`.
    pub pod_logs: PathBuf,
    /// Links `<pod>_<namespace>_<container>-<id>.log` for log collectors; none for no links.
    pub container_logs: Option<PathBuf>,
}

/// The names that paths are made of. Built only from names that are one path component each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNames {
    namespace: String,
    name: String,
    uid: PodUid,
}

impl PodNames {
    /// None if a name could lead out of its directory, as one that only the runtime knows might.
    #[must_use]
    pub fn new(namespace: &str, name: &str, uid: &PodUid) -> Option<Self> {
        let harmless = is_component(namespace) && is_component(name);
        harmless.then(|| Self { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.clone() })
    }

    /// UID of the pod.
    #[must_use]
    pub fn uid(&self) -> &PodUid {
        &self.uid
    }
}

/// Whether a text is the name of one directory entry.
#[must_use]
pub fn is_component(text: &str) -> bool {
    let mut components = Path::new(text).components();
    let first = matches!(components.next(), Some(Component::Normal(only)) if only == text);
    first && components.next().is_none() && !text.contains('\0')
}

impl Dirs {
    /// Directory of a pod's own files.
    #[must_use]
    pub fn pod(&self, uid: &PodUid) -> PathBuf {
        self.root.join("pods").join(uid.as_str())
    }

    /// Directory of a container's termination messages; `container` must be one component.
    #[must_use]
    pub fn messages(&self, uid: &PodUid, container: &str) -> PathBuf {
        self.pod(uid).join("containers").join(container)
    }

    /// The pod's `/etc/hosts`, the kubelet's own place for it.
    #[must_use]
    pub fn hosts(&self, uid: &PodUid) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }

    /// Directory of a pod's volumes.
    #[must_use]
    pub fn volumes(&self, uid: &PodUid) -> PathBuf {
        self.pod(uid).join(VOLUMES)
    }

    /// Where a part of a volume is mounted for a container, by the number of its mount in the spec; both names must be
    /// one component.
    #[must_use]
    pub fn sub_path(&self, uid: &PodUid, volume: &str, container: &str, index: usize) -> PathBuf {
        self.pod(uid).join(SUB_PATHS).join(volume).join(container).join(index.to_string())
    }

    /// Directory of a volume, the kubelet's own place for it; `name` must be one component.
    #[must_use]
    pub fn volume(&self, uid: &PodUid, plugin: Plugin, name: &str) -> PathBuf {
        self.volumes(uid).join(plugin.directory()).join(name)
    }

    /// What says of a volume on the disk that it is whole, the kubelet's own place for it.
    #[must_use]
    pub fn volume_mark(&self, uid: &PodUid, plugin: Plugin, name: &str) -> PathBuf {
        self.pod(uid).join("plugins").join(plugin.directory()).join(name).join("ready")
    }

    /// Log directory of a pod: the sandbox's `log_directory`.
    #[must_use]
    pub fn pod_log(&self, pod: &PodNames) -> PathBuf {
        self.pod_logs.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }

    /// Log directory of a container.
    #[must_use]
    pub fn container_log(&self, pod: &PodNames, container: &str) -> PathBuf {
        self.pod_log(pod).join(container)
    }

    /// Log file of one instance.
    #[must_use]
    pub fn log_file(&self, pod: &PodNames, container: &str, attempt: u32) -> PathBuf {
        self.pod_log(pod).join(log_path(container, attempt))
    }

    /// The link that log collectors follow, if links are made; none if its name would be longer than a file name
    /// may be (255 bytes).
    #[must_use]
    pub fn log_link(&self, pod: &PodNames, container: &str, id: &str) -> Option<PathBuf> {
        let name = format!("{}_{}_{container}-{id}.log", pod.name, pod.namespace);
        let dir = self.container_logs.as_ref()?;
        (name.len() <= 255).then(|| dir.join(name))
    }
}

/// Whether a path is the log directory of the pod, whatever its names.
#[must_use]
pub fn are_logs_of(path: &Path, uid: &PodUid) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.rsplit_once('_')).is_some_and(|(_, last)| last == uid.as_str())
}

/// The pod that a directory among the pods' own belongs to; none if it is no pod's: a UID is 32 hexadecimal digits,
/// or 36 characters with dashes.
#[must_use]
pub fn owner(path: &Path) -> Option<PodUid> {
    let name = path.file_name()?.to_str()?;
    let length = if name.contains('-') { 36 } else { 32 };
    let is_uid = name.len() == length && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_uid.then(|| PodUid::new(name).ok()).flatten()
}

/// Log path of an instance, relative to its pod's log directory.
#[must_use]
pub fn log_path(container: &str, attempt: u32) -> String {
    format!("{container}/{attempt}.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_make_no_paths() {
        let uid = PodUid::new("u").unwrap();
        for bad in ["", ".", "..", "a/b", "/etc", "../x", "a/", "a\0b"] {
            assert!(PodNames::new(bad, "p", &uid).is_none(), "{bad:?} as namespace");
            assert!(PodNames::new("ns", bad, &uid).is_none(), "{bad:?} as name");
        }
    }

    #[test]
    fn directories_tell_whose_they_are() {
        let uid = "7ccd0718e7192bd1456ca704c7686e3d";
        assert_eq!(owner(&Path::new("/r/pods").join(uid)).unwrap().as_str(), uid);
        assert!(owner(Path::new("/r/pods/0d2f1c3e-5b6a-4c7d-8e9f-0a1b2c3d4e5f")).is_some());
        for other in ["/r/pods/lost+found", "/r/pods/x", "/r/pods/..", "/"] {
            assert_eq!(owner(Path::new(other)), None, "{other}");
        }
        let uid = PodUid::new(uid).unwrap();
        assert!(are_logs_of(Path::new("/l/ns_web_7ccd0718e7192bd1456ca704c7686e3d"), &uid));
        assert!(!are_logs_of(Path::new("/l/ns_web_x7ccd0718e7192bd1456ca704c7686e3d"), &uid));
        assert!(!are_logs_of(Path::new("/l/7ccd0718e7192bd1456ca704c7686e3d"), &uid));
    }

    #[test]
    fn log_paths_are_the_kubelets() {
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: Some("/c".into()) };
        let pod = PodNames::new("ns", "web", &PodUid::new("u1").unwrap()).unwrap();
        assert_eq!(dirs.log_file(&pod, "app", 2), Path::new("/l/ns_web_u1/app/2.log"));
        assert_eq!(dirs.log_link(&pod, "app", "abc").unwrap(), Path::new("/c/web_ns_app-abc.log"));
    }
}
