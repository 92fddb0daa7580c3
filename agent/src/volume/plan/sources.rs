//! What the files of a volume are made from. Pure.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMapProjection, ConfigMapVolumeSource, DownwardAPIVolumeFile,
    KeyToPath, ProjectedVolumeSource, ResourceFieldSelector, SecretProjection, SecretVolumeSource,
    ServiceAccountTokenProjection, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Rendered, mode_bits};
use crate::objects::{self, Reference};

/// Life of a token in seconds where a source says nothing (`pkg/apis/core/v1/defaults.go`).
const DEFAULT_SECONDS: i64 = 3600;

/// One source of files.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A token of the pod's service account.
    Token(TokenSource),
    /// Keys of a ConfigMap or a Secret.
    Object(ObjectSource),
    /// A field of the pod itself.
    Field(FieldSource),
    /// Certificates that the cluster vouches for.
    Trust(TrustSource),
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

/// Keys of a ConfigMap or a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSource {
    /// Which of the two.
    pub kind: objects::Kind,
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

/// A field of the pod and its file.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldSource {
    /// What is shown.
    pub shown: Shown,
    /// File.
    pub path: PathBuf,
    /// Its mode, if it has one of its own.
    pub mode: Option<u32>,
}

/// What of a pod is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// The field of this path.
    Field(String),
    /// An amount of a resource of a container.
    Resource(ResourceFieldSelector),
}

/// Certificates of ClusterTrustBundles in one file.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustSource {
    /// Which bundles.
    pub chosen: Chosen,
    /// There may be none of them.
    pub optional: bool,
    /// File.
    pub path: PathBuf,
}

/// Which ClusterTrustBundles.
#[derive(Debug, Clone, PartialEq)]
pub enum Chosen {
    /// The one of this name.
    Name(String),
    /// All of a signer.
    Signer {
        /// The signer.
        name: String,
        /// Of these labels. Without it there are none, and an empty one takes all, as in all of the API.
        labels: Option<LabelSelector>,
    },
}

/// All sources of a projected volume; none if one is not built. A projection names one kind; should it name several,
/// all of them count, as upstream takes them.
pub(super) fn of_projected(source: &ProjectedVolumeSource) -> Option<Vec<Source>> {
    let mut all = Vec::new();
    for projection in source.sources.iter().flatten() {
        let VolumeProjection {
            cluster_trust_bundle,
            config_map,
            downward_api,
            pod_certificate: None,
            secret,
            service_account_token,
        } = projection
        else {
            return None;
        };
        if let Some(bundle) = cluster_trust_bundle {
            all.push(of_bundle(bundle)?);
        }
        all.extend(secret.as_ref().map(|SecretProjection { items, name, optional }| {
            of_object(objects::Kind::Secret, Some(name), *optional, items.as_deref())
        }));
        all.extend(config_map.as_ref().map(|ConfigMapProjection { items, name, optional }| {
            of_object(objects::Kind::ConfigMap, Some(name), *optional, items.as_deref())
        }));
        if let Some(downward) = downward_api {
            all.extend(of_fields(downward.items.as_deref())?);
        }
        all.extend(service_account_token.as_ref().map(|source| Source::Token(of_token(source))));
    }
    Some(all)
}

pub(super) fn of_config_map(source: &ConfigMapVolumeSource) -> Source {
    let ConfigMapVolumeSource { default_mode: _, items, name, optional } = source;
    of_object(objects::Kind::ConfigMap, Some(name), *optional, items.as_deref())
}

pub(super) fn of_secret(source: &SecretVolumeSource) -> Source {
    let SecretVolumeSource { default_mode: _, items, optional, secret_name } = source;
    of_object(objects::Kind::Secret, secret_name.as_ref(), *optional, items.as_deref())
}

fn of_object(
    kind: objects::Kind,
    name: Option<&String>,
    optional: Option<bool>,
    items: Option<&[KeyToPath]>,
) -> Source {
    let item = |KeyToPath { key, mode, path }: &KeyToPath| Item {
        key: key.clone(),
        path: path.into(),
        mode: mode.and_then(mode_bits),
    };
    Source::Object(ObjectSource {
        kind,
        name: name.cloned().unwrap_or_default(),
        optional: optional.unwrap_or(false),
        items: items.unwrap_or_default().iter().map(item).collect(),
    })
}

/// None if an item shows nothing.
pub(super) fn of_fields(items: Option<&[DownwardAPIVolumeFile]>) -> Option<Vec<Source>> {
    items.unwrap_or_default().iter().map(of_field).collect()
}

fn of_field(item: &DownwardAPIVolumeFile) -> Option<Source> {
    let DownwardAPIVolumeFile { field_ref, mode, path, resource_field_ref } = item;
    let field = field_ref.as_ref().map(|field| Shown::Field(field.field_path.clone()));
    let shown = field.or_else(|| resource_field_ref.clone().map(Shown::Resource))?;
    Some(Source::Field(FieldSource { shown, path: path.into(), mode: mode.and_then(mode_bits) }))
}

fn of_token(source: &ServiceAccountTokenProjection) -> TokenSource {
    TokenSource {
        path: source.path.clone().into(),
        audience: source.audience.clone().filter(|audience| !audience.is_empty()),
        seconds: source.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
    }
}

/// None for what names neither a bundle nor a signer, or both.
fn of_bundle(source: &ClusterTrustBundleProjection) -> Option<Source> {
    let ClusterTrustBundleProjection { label_selector, name, optional, path, signer_name } = source;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let chosen = match (given(name), given(signer_name)) {
        (Some(name), None) => Chosen::Name(name),
        (None, Some(name)) => Chosen::Signer { name, labels: label_selector.clone() },
        (None, None) | (Some(_), Some(_)) => return None,
    };
    Some(Source::Trust(TrustSource { chosen, optional: optional.unwrap_or(false), path: path.into() }))
}

impl ObjectSource {
    /// The object that it names, for a pod of this namespace.
    #[must_use]
    pub fn reference(&self, namespace: &str) -> Reference {
        Reference { kind: self.kind, namespace: namespace.to_owned(), name: self.name.clone() }
    }
}

impl Rendered {
    /// The volume's tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenSource> {
        self.sources.iter().filter_map(|source| match source {
            Source::Token(token) => Some(token),
            Source::Object(_) | Source::Field(_) | Source::Trust(_) => None,
        })
    }

    /// The volume's ConfigMaps and Secrets.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectSource> {
        self.sources.iter().filter_map(|source| match source {
            Source::Object(object) => Some(object),
            Source::Token(_) | Source::Field(_) | Source::Trust(_) => None,
        })
    }

    /// Whether it shows bundles of certificates.
    #[must_use]
    pub fn shows_bundles(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Trust(_)))
    }

    /// Whether it shows what may change in the pod while it runs: its labels and annotations.
    #[must_use]
    pub fn shows_the_pod(&self) -> bool {
        let changes =
            |path: &str| path.starts_with("metadata.labels") || path.starts_with("metadata.annotations");
        self.sources.iter().any(|source| match source {
            Source::Field(FieldSource { shown: Shown::Field(path), .. }) => changes(path),
            _ => false,
        })
    }

    /// Files that are there whenever the volume is whole, whatever the objects hold.
    pub fn certain_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.sources.iter().flat_map(|source| -> Vec<&PathBuf> {
            match source {
                Source::Token(token) => vec![&token.path],
                Source::Field(field) => vec![&field.path],
                Source::Trust(bundle) => vec![&bundle.path],
                Source::Object(object) if object.optional => Vec::new(),
                Source::Object(object) => object.items.iter().map(|item| &item.path).collect(),
            }
        })
    }
}
