//! The files that a volume shall have. Pure: (volume, what was gathered, what the pod and the node are) → files, or
//! everything that is missing, in the kubelet's words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::disk::contents::{Attributes, Opaque};
use crate::objects::{Bundles, Data, Kind, Reference};
use crate::pod::field::{self, Facts};
use crate::source::desired::DesiredPod;
use crate::volume::owner::Owner;
use crate::volume::plan::{FieldSource, ObjectSource, Rendered, Shown, Source, TokenSource, TrustSource};
use crate::volume::trust;

/// Longest path of a file within a volume, in bytes (`maxPathLength` of `pkg/volume/util/atomic_writer.go`).
const MAX_PATH: usize = 4096;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it holds.
    pub bytes: Opaque,
    /// Its mode and owner.
    pub attributes: Attributes,
}

/// All files of a volume by path, each path relative, clean, and not beginning with `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The files.
    pub files: BTreeMap<PathBuf, Wanted>,
    /// Of every directory.
    pub directory: Attributes,
    /// Directories over which other volumes are mounted; in none of them is a file.
    pub nested: BTreeSet<PathBuf>,
}

/// What was gathered for the volumes of a pod: each thing, or why there is none.
#[derive(Debug, Default)]
pub struct Gathered {
    /// ConfigMaps and Secrets; none for one that does not exist.
    pub objects: BTreeMap<Reference, Result<Option<Arc<Data>>, String>>,
    /// Tokens by volume and source.
    pub tokens: BTreeMap<(String, TokenSource), Result<Opaque, String>>,
    /// All bundles of certificates; none where no volume shows one.
    pub bundles: Option<Result<Arc<Bundles>, String>>,
}

/// For whom a volume is made.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The pod.
    pub pod: &'a DesiredPod,
    /// Who owns its files.
    pub owner: Owner,
    /// What its node has for pods: CPU in thousandths, all else in whole units.
    pub allocatable: &'a BTreeMap<String, i64>,
    /// What was gathered.
    pub gathered: &'a Gathered,
}

type Files = Vec<(PathBuf, Wanted)>;

/// The files of a volume. A later source wins over an earlier one of the same path.
pub fn payload(volume: &Rendered, around: &Around<'_>) -> Result<Payload, Vec<String>> {
    let mut files = BTreeMap::new();
    let mut missing = Vec::new();
    for source in &volume.sources {
        let result = match source {
            Source::Token(token) => of_token(volume, token, around),
            Source::Object(object) => of_object(volume, object, around),
            Source::Field(field) => of_field(volume, field, around),
            Source::Trust(bundle) => of_bundle(volume, bundle, around),
        };
        match result {
            Ok(more) => files.extend(more),
            Err(why) => missing.push(why),
        }
    }
    let mut keep = |result: Result<PathBuf, String>| result.map_err(|why| missing.push(why)).ok();
    let cleaned = files.into_iter().filter_map(|(path, file)| Some((keep(clean(&path))?, file)));
    let files: BTreeMap<_, _> = cleaned.collect();
    let nested: BTreeSet<_> = volume.nested.iter().filter_map(|path| keep(clean(path))).collect();
    missing.extend(clash(&files));
    missing.extend(nested.iter().find_map(|path| taken(path, &files)));
    let directory = around.owner.directory();
    if missing.is_empty() { Ok(Payload { files, directory, nested }) } else { Err(missing) }
}

fn of_token(volume: &Rendered, token: &TokenSource, around: &Around<'_>) -> Result<Files, String> {
    let got = around.gathered.tokens.get(&(volume.name.clone(), token.clone()));
    let bytes = got.cloned().unwrap_or_else(|| Err("failed to fetch token: none was given".to_owned()))?;
    Ok(vec![(token.path.clone(), Wanted { bytes, attributes: around.owner.token(volume.mode) })])
}

/// A file of this mode, or of the volume's where it has none of its own.
fn file(volume: &Rendered, around: &Around<'_>, bytes: Opaque, mode: Option<u32>) -> Wanted {
    Wanted { bytes, attributes: around.owner.file(mode.unwrap_or(volume.mode)) }
}

fn of_object(volume: &Rendered, source: &ObjectSource, around: &Around<'_>) -> Result<Files, String> {
    let reference = source.reference(&around.pod.namespace);
    let Some(object) = around.gathered.objects.get(&reference).cloned().transpose()?.flatten() else {
        return if source.optional { Ok(Vec::new()) } else { Err(reference.not_found()) };
    };
    if source.items.is_empty() {
        let all = object.files();
        return Ok(all.map(|(key, bytes)| (key.into(), file(volume, around, bytes.clone(), None))).collect());
    }
    let all: BTreeMap<&str, &Opaque> = object.files().collect();
    let mut files = Vec::new();
    for item in &source.items {
        match all.get(item.key.as_str()) {
            Some(bytes) => {
                files.push((item.path.clone(), file(volume, around, (*bytes).clone(), item.mode)));
            }
            None if source.optional => {}
            None => return Err(no_key(source.kind, &item.key)),
        }
    }
    Ok(files)
}

fn no_key(kind: Kind, key: &str) -> String {
    match kind {
        Kind::ConfigMap => format!("configmap references non-existent config key: {key}"),
        Kind::Secret => format!("references non-existent secret key: {key}"),
    }
}

fn of_field(volume: &Rendered, source: &FieldSource, around: &Around<'_>) -> Result<Files, String> {
    let value = match &source.shown {
        Shown::Field(path) => field::of_pod(path, &Facts::of(around.pod)),
        Shown::Resource(selector) => {
            let spec = around.pod.pod.spec.clone().unwrap_or_default();
            field::of_resource(selector, None, &spec, around.allocatable)
        }
    };
    let value = value.map_err(|error| error.to_string())?;
    Ok(vec![(source.path.clone(), file(volume, around, value.into_bytes().into(), source.mode))])
}

/// A file that is empty where there may be none of the bundles and is none; its mode is that of a token, as upstream has
/// it (`pkg/volume/projected`).
fn of_bundle(volume: &Rendered, source: &TrustSource, around: &Around<'_>) -> Result<Files, String> {
    let failed = |why: &str| format!("failed to get {}: {why}", trust::told(&source.chosen));
    let all = match &around.gathered.bundles {
        Some(Ok(all)) => all,
        Some(Err(why)) => return Err(failed(why)),
        None => return Err(failed("none were given")),
    };
    let chosen = trust::chosen(all, &source.chosen);
    let text = match chosen.is_empty() {
        true if source.optional => String::new(),
        true => return Err(trust::none(&source.chosen)),
        false => trust::certificates(&chosen).map_err(|why| failed(&why))?,
    };
    let attributes = around.owner.token(volume.mode);
    Ok(vec![(source.path.clone(), Wanted { bytes: text.into_bytes().into(), attributes })])
}

fn clean(path: &Path) -> Result<PathBuf, String> {
    let refused = |why: &str| Err(format!("invalid path {path:?}: {why}"));
    if path.as_os_str().is_empty() {
        return refused("must not be empty");
    }
    if path.as_os_str().len() > MAX_PATH {
        return refused("must be at most 4096 bytes");
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return refused("must not contain a zero byte");
    }
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir => return refused("must not contain '..'"),
            Component::RootDir | Component::Prefix(_) => return refused("must be relative"),
        }
    }
    if clean.as_os_str().is_empty() {
        return refused("names no file");
    }
    if clean.as_os_str().as_encoded_bytes().starts_with(b"..") {
        return refused("must not begin with '..'");
    }
    Ok(clean)
}

/// A path that would have to be a file and a directory at once.
fn clash(files: &BTreeMap<PathBuf, Wanted>) -> Option<String> {
    let inside = |path: &&PathBuf| path.ancestors().skip(1).any(|above| files.contains_key(above));
    files
        .keys()
        .find(inside)
        .map(|path| format!("invalid path {path:?}: a file is where a directory is needed"))
}

/// A mount point whose place, or the way to it, is a name that files have.
fn taken(nested: &Path, files: &BTreeMap<PathBuf, Wanted>) -> Option<String> {
    let top = nested.components().next()?;
    let clashes = files.keys().any(|path| path.components().next() == Some(top));
    clashes.then(|| format!("invalid mount point {nested:?}: the volume has files of that name"))
}

#[cfg(test)]
mod tests;
