//! Names of cgroups, as the runtime is given them and as they lie below the mount of cgroup v2: both are one text.
//! Pure (`CgroupName` in `pkg/kubelet/cm/cgroup_manager_linux.go`).

use pinnace_cri::id::PodUid;

use crate::config::effective::CgroupDriver;
use crate::pod::resources::Qos;

/// The cgroup of all pods (`defaultNodeAllocatableCgroupName`).
const PODS: &str = "kubepods";

/// A cgroup's name as the tree has it, from one in a configuration; parts that would lead elsewhere are left out.
#[must_use]
pub fn plain(name: &str) -> String {
    parts(name).map(|part| format!("/{part}")).collect()
}

fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split('/').filter(|part| !matches!(*part, "" | "." | ".."))
}

/// How cgroups of this node are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    driver: CgroupDriver,
    root: Vec<String>,
}

impl Names {
    /// Names under `root`, a path such as `/` or `/tenants/a`; parts that would lead elsewhere are left out.
    #[must_use]
    pub fn new(driver: CgroupDriver, root: &str) -> Self {
        Self { driver, root: parts(root).map(str::to_owned).collect() }
    }

    /// Who makes them.
    #[must_use]
    pub fn driver(&self) -> CgroupDriver {
        self.driver
    }

    /// The cgroup of all pods.
    #[must_use]
    pub fn pods(&self) -> String {
        self.written(&[PODS])
    }

    /// The cgroup of a class; guaranteed pods lie in that of all.
    #[must_use]
    pub fn class(&self, qos: Qos) -> String {
        match class(qos) {
            Some(class) => self.written(&[PODS, class]),
            None => self.pods(),
        }
    }

    /// The cgroup of a pod.
    #[must_use]
    pub fn pod(&self, qos: Qos, uid: &PodUid) -> String {
        let pod = format!("pod{uid}");
        match class(qos) {
            Some(class) => self.written(&[PODS, class, &pod]),
            None => self.written(&[PODS, &pod]),
        }
    }

    fn written(&self, below: &[&str]) -> String {
        let parts = self.root.iter().map(String::as_str).chain(below.iter().copied());
        match self.driver {
            CgroupDriver::Cgroupfs => parts.map(|part| format!("/{part}")).collect(),
            CgroupDriver::Systemd => slices(parts),
        }
    }
}

fn class(qos: Qos) -> Option<&'static str> {
    match qos {
        Qos::Guaranteed => None,
        Qos::Burstable => Some("burstable"),
        Qos::BestEffort => Some("besteffort"),
    }
}

/// A slice lies in the slice whose name is its own up to the last dash, so a dash within a part is written `_`.
fn slices<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let (mut path, mut name) = (String::new(), String::new());
    for part in parts {
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(&part.replace('-', "_"));
        path.push('/');
        path.push_str(&name);
        path.push_str(".slice");
    }
    path
}

/// Every cgroup above one and itself, from the top.
pub fn down_to(cgroup: &str) -> impl Iterator<Item = &str> {
    let ends = cgroup.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    ends.filter_map(|at| cgroup.get(..at)).chain([cgroup])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [Qos; 3] = [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort];

    fn named(driver: CgroupDriver, root: &str) -> Vec<String> {
        let names = Names::new(driver, root);
        let uid = PodUid::new("0f3e-17").unwrap();
        CLASSES.iter().map(|qos| names.pod(*qos, &uid)).collect()
    }

    #[test]
    fn paths_are_the_kubelets() {
        assert_eq!(
            named(CgroupDriver::Cgroupfs, "/"),
            ["/kubepods/pod0f3e-17", "/kubepods/burstable/pod0f3e-17", "/kubepods/besteffort/pod0f3e-17"]
        );
        assert_eq!(named(CgroupDriver::Cgroupfs, "/a//../b/")[0], "/a/b/kubepods/pod0f3e-17");
    }

    #[test]
    fn slices_are_the_kubelets() {
        assert_eq!(
            named(CgroupDriver::Systemd, ""),
            [
                "/kubepods.slice/kubepods-pod0f3e_17.slice",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f3e_17.slice",
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0f3e_17.slice",
            ]
        );
        let names = Names::new(CgroupDriver::Systemd, "/my-pods");
        assert_eq!(names.class(Qos::Guaranteed), "/my_pods.slice/my_pods-kubepods.slice");
        let names = Names::new(CgroupDriver::Systemd, "");
        let classes = CLASSES.map(|qos| names.class(qos));
        assert_eq!(
            classes,
            [
                "/kubepods.slice",
                "/kubepods.slice/kubepods-burstable.slice",
                "/kubepods.slice/kubepods-besteffort.slice"
            ]
        );
    }

    #[test]
    fn a_way_down_names_every_level() {
        assert_eq!(down_to("/a/b/c").collect::<Vec<_>>(), ["/a", "/a/b", "/a/b/c"]);
        assert_eq!(down_to("/a").collect::<Vec<_>>(), ["/a"]);
    }
}
