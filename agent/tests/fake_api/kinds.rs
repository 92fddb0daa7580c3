//! Which resources there are, and what a URL path addresses.

/// One resource of the API.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    /// Name in URLs.
    pub plural: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
    /// Has a `status` subresource.
    pub status: bool,
    /// Starts with `metadata.generation` 1.
    pub generation: bool,
    /// A PUT or PATCH without a resourceVersion is accepted.
    pub unconditional: bool,
    /// A PUT creates what is not there.
    pub create_on_update: bool,
}

const PLAIN: Kind = Kind {
    group: "",
    version: "v1",
    plural: "",
    kind: "",
    namespaced: true,
    status: false,
    generation: false,
    unconditional: true,
    create_on_update: false,
};

/// What a kubelet and its tests touch.
pub static KINDS: [Kind; 14] = [
    Kind { plural: "pods", kind: "Pod", status: true, generation: true, ..PLAIN },
    Kind { plural: "nodes", kind: "Node", namespaced: false, status: true, ..PLAIN },
    Kind { plural: "namespaces", kind: "Namespace", namespaced: false, status: true, ..PLAIN },
    Kind { plural: "configmaps", kind: "ConfigMap", ..PLAIN },
    Kind { plural: "secrets", kind: "Secret", ..PLAIN },
    Kind { plural: "serviceaccounts", kind: "ServiceAccount", ..PLAIN },
    Kind { plural: "services", kind: "Service", status: true, ..PLAIN },
    Kind { plural: "persistentvolumeclaims", kind: "PersistentVolumeClaim", status: true, ..PLAIN },
    Kind { plural: "persistentvolumes", kind: "PersistentVolume", namespaced: false, status: true, ..PLAIN },
    Kind { plural: "events", kind: "Event", create_on_update: true, ..PLAIN },
    Kind { group: "events.k8s.io", plural: "events", kind: "Event", create_on_update: true, ..PLAIN },
    Kind {
        group: "coordination.k8s.io",
        plural: "leases",
        kind: "Lease",
        unconditional: false,
        create_on_update: true,
        ..PLAIN
    },
    Kind { group: "node.k8s.io", plural: "runtimeclasses", kind: "RuntimeClass", namespaced: false, ..PLAIN },
    Kind { group: "storage.k8s.io", plural: "csidrivers", kind: "CSIDriver", namespaced: false, ..PLAIN },
];

impl Kind {
    /// `leases.coordination.k8s.io`, `pods`: how messages name the resource.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Lease.coordination.k8s.io`, `Pod`: how messages of failed validation name the kind.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The kind of an object by its own words.
    pub fn of(api_version: &str, kind: &str) -> Option<&'static Self> {
        KINDS.iter().find(|known| known.kind == kind && known.api_version() == api_version)
    }

    /// The kind by its plural name; a name that two groups use means the core one.
    pub fn named(plural: &str) -> &'static Self {
        let found = KINDS.iter().find(|kind| kind.plural == plural || kind.qualified() == plural);
        found.unwrap_or_else(|| panic!("the fake API server knows no resource {plural}"))
    }
}

/// What a path addresses.
#[derive(Debug, Clone)]
pub struct Target {
    pub kind: &'static Kind,
    /// None for resources without namespace, and for a list over all namespaces.
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub sub: Option<String>,
}

impl Target {
    /// Parses a path; None when there is no such resource.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let group = match *parts.first()? {
            "api" => "",
            "apis" => parts.get(1).copied()?,
            _ => return None,
        };
        let skipped = if group.is_empty() { 1 } else { 2 };
        let version = parts.get(skipped).copied()?;
        parts.drain(..=skipped);
        let namespace = match parts.as_slice() {
            ["namespaces", namespace, _plural, ..] if !matches!(*_plural, "status" | "finalize") => {
                let namespace = (*namespace).to_owned();
                parts.drain(..2);
                Some(namespace)
            }
            _ => None,
        };
        let plural = parts.first().copied()?;
        let same = |kind: &&Kind| kind.group == group && kind.version == version && kind.plural == plural;
        let kind = KINDS.iter().find(same)?;
        let part = |index: usize| parts.get(index).map(|part| (*part).to_owned());
        Some(Self { kind, namespace, name: part(1), sub: part(2) })
    }

    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub fn sub(&self) -> &str {
        self.sub.as_deref().unwrap_or_default()
    }
}
