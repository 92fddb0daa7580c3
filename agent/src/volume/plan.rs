//! Which volumes of a pod are built, and what each is made of. Pure. The gate holds a pod with anything else, so that
//! what is skipped here never runs.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource,
    ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use crate::source::desired::DesiredPod;

/// Mode of files where a volume says nothing (`pkg/apis/core/v1/defaults.go`).
const DEFAULT_MODE: u32 = 0o644;
/// Life of a token in seconds where a source says nothing (the same source).
const DEFAULT_SECONDS: i64 = 3600;
/// The one field that a downward API item may name yet.
pub const NAMESPACE_FIELD: &str = "metadata.namespace";

/// A projected volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projected {
    /// Name of the volume within its pod, one path component.
    pub name: String,
    /// Mode of files whose item has none of its own.
    pub mode: u32,
    /// What is put together in it, in the order of the spec.
    pub sources: Vec<Source>,
}

/// One source of a projected volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A token of the pod's service account.
    Token(TokenSource),
    /// Keys of a ConfigMap.
    ConfigMap(ConfigMapSource),
    /// The pod's namespace.
    Namespace {
        /// File.
        path: PathBuf,
        /// Its mode, if it has one of its own.
        mode: Option<u32>,
    },
}

/// A token of the pod's service account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenSource {
    /// File.
    pub path: PathBuf,
    /// Whom the token is for; none for the API server's own default.
    pub audience: Option<String>,
    /// Life that is asked for, in seconds.
    pub seconds: i64,
}

/// Keys of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapSource {
    /// Name, in the pod's namespace.
    pub name: String,
    /// Neither the object nor its keys need to exist.
    pub optional: bool,
    /// Which keys go where; empty for each key as the file of its name.
    pub items: Vec<Item>,
}

/// One key and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Key of the object.
    pub key: String,
    /// File.
    pub path: PathBuf,
    /// Its mode, if it has one of its own.
    pub mode: Option<u32>,
}

/// Whether there is anything to set up before a container of the pod may start.
#[must_use]
pub fn has_volumes(pod: &DesiredPod) -> bool {
    pod.pod.spec.as_ref().is_some_and(|spec| spec.volumes.as_ref().is_some_and(|all| !all.is_empty()))
}

/// The pod's volumes; or the name of one that is not built.
pub fn volumes(pod: &Pod) -> Result<Vec<Projected>, String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.map(|volume| projected(volume).ok_or_else(|| volume.name.clone())).collect()
}

fn projected(volume: &Volume) -> Option<Projected> {
    let ProjectedVolumeSource { default_mode, sources } = volume.projected.as_ref()?;
    let mut all = Vec::new();
    for projection in sources.iter().flatten() {
        all.extend(self::sources(projection)?);
    }
    let mode = default_mode.and_then(mode_bits).unwrap_or(DEFAULT_MODE);
    Some(Projected { name: volume.name.clone(), mode, sources: all })
}

/// A projection names one kind; should it name several, all of them count, as upstream takes them.
fn sources(projection: &VolumeProjection) -> Option<Vec<Source>> {
    let VolumeProjection {
        cluster_trust_bundle: None,
        config_map,
        downward_api,
        pod_certificate: None,
        secret: None,
        service_account_token,
    } = projection
    else {
        return None;
    };
    let mut all = Vec::new();
    all.extend(config_map.as_ref().map(|source| Source::ConfigMap(of_config_map(source))));
    for item in downward_api.iter().flat_map(|source| source.items.iter().flatten()) {
        all.push(of_field(item)?);
    }
    all.extend(service_account_token.as_ref().map(|source| Source::Token(of_token(source))));
    Some(all)
}

fn of_config_map(source: &ConfigMapProjection) -> ConfigMapSource {
    let item = |KeyToPath { key, mode, path }: &KeyToPath| Item {
        key: key.clone(),
        path: path.into(),
        mode: mode.and_then(mode_bits),
    };
    ConfigMapSource {
        name: source.name.clone(),
        optional: source.optional.unwrap_or(false),
        items: source.items.iter().flatten().map(item).collect(),
    }
}

fn of_field(item: &DownwardAPIVolumeFile) -> Option<Source> {
    let DownwardAPIVolumeFile { field_ref: Some(field), mode, path, resource_field_ref: None } = item else {
        return None;
    };
    let namespace = field.field_path == NAMESPACE_FIELD;
    namespace.then(|| Source::Namespace { path: path.into(), mode: mode.and_then(mode_bits) })
}

fn of_token(source: &ServiceAccountTokenProjection) -> TokenSource {
    TokenSource {
        path: source.path.clone().into(),
        audience: source.audience.clone().filter(|audience| !audience.is_empty()),
        seconds: source.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
    }
}

/// The API admits modes from 0 to 0777.
fn mode_bits(mode: i32) -> Option<u32> {
    u32::try_from(mode).ok().map(|mode| mode & 0o777)
}

impl Projected {
    /// The volume's tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenSource> {
        self.sources.iter().filter_map(|source| match source {
            Source::Token(token) => Some(token),
            Source::ConfigMap(_) | Source::Namespace { .. } => None,
        })
    }

    /// The volume's ConfigMaps.
    pub fn config_maps(&self) -> impl Iterator<Item = &ConfigMapSource> {
        self.sources.iter().filter_map(|source| match source {
            Source::ConfigMap(map) => Some(map),
            Source::Token(_) | Source::Namespace { .. } => None,
        })
    }

    /// Files that are there whenever the volume is whole, whatever the objects hold.
    pub fn certain_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.sources.iter().flat_map(|source| -> Vec<&PathBuf> {
            match source {
                Source::Token(token) => vec![&token.path],
                Source::Namespace { path, .. } => vec![path],
                Source::ConfigMap(map) if map.optional => Vec::new(),
                Source::ConfigMap(map) => map.items.iter().map(|item| &item.path).collect(),
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The volume that ServiceAccount admission adds to every pod.
    pub(crate) fn admitted() -> Value {
        json!({ "name": "kube-api-access-x7k2p", "projected": { "defaultMode": 420, "sources": [
            { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            { "downwardAPI": { "items": [
                { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }
            ] } },
        ] } })
    }

    /// A pod of namespace `ns` with these volumes and one container.
    pub(crate) fn pod_with(volumes: Value) -> Pod {
        let spec = json!({ "containers": [{ "name": "c", "image": "i" }], "volumes": volumes,
            "serviceAccountName": "default" });
        let metadata = json!({ "name": "web", "namespace": "ns", "uid": "u1" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    #[test]
    fn the_volume_that_every_pod_gets_is_understood() {
        let volumes = volumes(&pod_with(json!([admitted()]))).unwrap();
        let token = TokenSource { path: "token".into(), audience: None, seconds: 3607 };
        let item = Item { key: "ca.crt".into(), path: "ca.crt".into(), mode: None };
        let ca = ConfigMapSource { name: "kube-root-ca.crt".into(), optional: false, items: vec![item] };
        let namespace = Source::Namespace { path: "namespace".into(), mode: None };
        let sources = vec![Source::Token(token), Source::ConfigMap(ca), namespace];
        let name = "kube-api-access-x7k2p".to_owned();
        assert_eq!(volumes, [Projected { name, mode: 0o644, sources }]);
        let files: Vec<_> = volumes[0].certain_files().collect();
        assert_eq!(files, ["token", "ca.crt", "namespace"].map(PathBuf::from).each_ref());
    }

    #[test]
    fn what_is_not_built_is_named() {
        for other in [
            json!({ "name": "v", "emptyDir": {} }),
            json!({ "name": "v", "projected": { "sources": [{ "secret": { "name": "s" } }] } }),
            json!({ "name": "v", "projected": { "sources": [{ "downwardAPI": { "items": [
                { "path": "n", "fieldRef": { "fieldPath": "metadata.name" } }] } }] } }),
        ] {
            assert_eq!(volumes(&pod_with(json!([admitted(), other]))), Err("v".to_owned()));
        }
        assert_eq!(volumes(&pod_with(json!([]))), Ok(Vec::new()));
    }
}
