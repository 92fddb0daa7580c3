//! The files that a projected volume shall have. Pure: (volume, what was fetched, owner) → files, or everything that
//! is missing, in the kubelet's words.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::disk::contents::{Attributes, Opaque};
use crate::objects::{Data, Kind, Reference};
use crate::volume::owner::Owner;
use crate::volume::plan::{ConfigMapSource, Projected, Source, TokenSource};

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
}

/// What the API server gave for a volume.
#[derive(Debug, Default)]
pub struct Fetched {
    /// ConfigMaps by name; none for one that does not exist.
    pub config_maps: BTreeMap<String, Option<Arc<Data>>>,
    /// Tokens by source.
    pub tokens: BTreeMap<TokenSource, Opaque>,
}

/// The files of a volume. A later source wins over an earlier one of the same path.
pub fn payload(
    volume: &Projected,
    namespace: &str,
    fetched: &Fetched,
    owner: &Owner,
) -> Result<Payload, Vec<String>> {
    let mut files = BTreeMap::new();
    let mut missing = Vec::new();
    for source in &volume.sources {
        let result = match source {
            Source::Token(token) => of_token(token, volume.mode, fetched, owner),
            Source::Namespace { path, mode } => {
                let attributes = owner.file(mode.unwrap_or(volume.mode));
                Ok(vec![(path.clone(), Wanted { bytes: namespace.into(), attributes })])
            }
            Source::ConfigMap(map) => of_config_map(map, namespace, volume.mode, fetched, owner),
        };
        match result {
            Ok(more) => files.extend(more),
            Err(why) => missing.push(why),
        }
    }
    let files = files.into_iter().filter_map(|(path, file)| match clean(&path) {
        Ok(path) => Some((path, file)),
        Err(why) => {
            missing.push(why);
            None
        }
    });
    let files: BTreeMap<_, _> = files.collect();
    missing.extend(clash(&files));
    if missing.is_empty() { Ok(Payload { files, directory: owner.directory() }) } else { Err(missing) }
}

type Files = Vec<(PathBuf, Wanted)>;

fn of_token(token: &TokenSource, mode: u32, fetched: &Fetched, owner: &Owner) -> Result<Files, String> {
    let bytes = fetched.tokens.get(token).ok_or("failed to fetch token: none was given")?.clone();
    Ok(vec![(token.path.clone(), Wanted { bytes, attributes: owner.token(mode) })])
}

fn of_config_map(
    source: &ConfigMapSource,
    namespace: &str,
    default_mode: u32,
    fetched: &Fetched,
    owner: &Owner,
) -> Result<Files, String> {
    let file =
        |bytes, mode: Option<u32>| Wanted { bytes, attributes: owner.file(mode.unwrap_or(default_mode)) };
    let Some(map) = fetched.config_maps.get(&source.name).and_then(Option::as_ref) else {
        return if source.optional {
            Ok(Vec::new())
        } else {
            Err(not_found(Kind::ConfigMap, namespace, &source.name))
        };
    };
    if source.items.is_empty() {
        return Ok(map.files().map(|(key, bytes)| (key.into(), file(bytes.clone(), None))).collect());
    }
    let all: BTreeMap<&str, &Opaque> = map.files().collect();
    let mut files = Vec::new();
    for item in &source.items {
        match all.get(item.key.as_str()) {
            Some(bytes) => files.push((item.path.clone(), file((*bytes).clone(), item.mode))),
            None if source.optional => {}
            None => return Err(format!("configmap references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

fn not_found(kind: Kind, namespace: &str, name: &str) -> String {
    Reference { kind, namespace: namespace.to_owned(), name: name.to_owned() }.not_found()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::volume::plan::tests::{admitted, pod_with};
    use crate::volume::plan::volumes;

    fn map(value: serde_json::Value) -> Arc<Data> {
        let object: k8s_openapi::api::core::v1::ConfigMap = serde_json::from_value(value).unwrap();
        Arc::new(object.into())
    }

    fn volume(config_map: serde_json::Value) -> Projected {
        let sources = json!([{ "configMap": config_map }]);
        let pod =
            pod_with(json!([{ "name": "v", "projected": { "sources": sources, "defaultMode": 0o600 } }]));
        volumes(&pod).unwrap().remove(0)
    }

    /// Path, mode and bytes.
    type Shown = (String, u32, Vec<u8>);

    fn built(volume: &Projected, fetched: &Fetched) -> Result<Vec<Shown>, Vec<String>> {
        let payload = payload(volume, "ns", fetched, &Owner::default())?;
        let shown = |(path, file): (&PathBuf, &Wanted)| {
            (path.to_string_lossy().into_owned(), file.attributes.mode, file.bytes.bytes().to_vec())
        };
        Ok(payload.files.iter().map(shown).collect())
    }

    fn with(map_or_none: Option<Arc<Data>>) -> Fetched {
        Fetched { config_maps: [("m".to_owned(), map_or_none)].into(), ..Fetched::default() }
    }

    #[test]
    fn the_volume_that_every_pod_gets() {
        let volume = volumes(&pod_with(json!([admitted()]))).unwrap().remove(0);
        let ca = map(json!({ "data": { "ca.crt": "CA", "other": "x" } }));
        let token = volume.tokens().next().unwrap().clone();
        let fetched = Fetched {
            config_maps: [("kube-root-ca.crt".to_owned(), Some(ca))].into(),
            tokens: [(token, "T".into())].into(),
        };
        let file = |name: &str, text: &str| (name.to_owned(), 0o644, text.as_bytes().to_vec());
        assert_eq!(
            built(&volume, &fetched).unwrap(),
            [file("ca.crt", "CA"), file("namespace", "ns"), file("token", "T")]
        );
        let missing = built(&volume, &Fetched::default()).unwrap_err();
        assert_eq!(missing[1], "configmap \"kube-root-ca.crt\" not found");
    }

    #[test]
    fn keys_items_and_modes_of_a_config_map() {
        let content = || map(json!({ "data": { "a": "1" }, "binaryData": { "b": "/w==" } }));
        let all = built(&volume(json!({ "name": "m" })), &with(Some(content()))).unwrap();
        assert_eq!(all, [("a".into(), 0o600, b"1".to_vec()), ("b".into(), 0o600, vec![0xff])]);
        let items = json!([{ "key": "b", "path": "d//./e", "mode": 0o400 }]);
        let some = built(&volume(json!({ "name": "m", "items": items })), &with(Some(content()))).unwrap();
        assert_eq!(some, [("d/e".into(), 0o400, vec![0xff])]);
    }

    #[test]
    fn only_what_is_optional_may_be_missing() {
        let items = json!([{ "key": "x", "path": "x" }]);
        let content = || map(json!({ "data": { "a": "1" } }));
        for optional in [true, false] {
            let volume = volume(json!({ "name": "m", "items": items, "optional": optional }));
            let (absent, lacking) = (built(&volume, &with(None)), built(&volume, &with(Some(content()))));
            if optional {
                assert_eq!((absent, lacking), (Ok(Vec::new()), Ok(Vec::new())));
            } else {
                assert_eq!(absent.unwrap_err(), ["configmap \"m\" not found"]);
                assert_eq!(lacking.unwrap_err(), ["configmap references non-existent config key: x"]);
            }
        }
    }

    #[test]
    fn a23_paths_stay_inside() {
        for bad in ["", "/x", "../x", "a/../b", "..x", "..data", ".", "a\0b"] {
            let items = json!([{ "key": "a", "path": bad }]);
            let volume = volume(json!({ "name": "m", "items": items }));
            assert!(built(&volume, &with(Some(map(json!({ "data": { "a": "1" } }))))).is_err(), "{bad:?}");
        }
        let items = json!([{ "key": "a", "path": "f" }, { "key": "a", "path": "f/g" }]);
        let volume = volume(json!({ "name": "m", "items": items }));
        assert!(built(&volume, &with(Some(map(json!({ "data": { "a": "1" } }))))).is_err());
    }

    proptest! {
        #[test]
        fn a_clean_path_is_relative_and_never_climbs(path in "[./a]{0,8}") {
            if let Ok(clean) = clean(Path::new(&path)) {
                prop_assert!(clean.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert!(!clean.to_string_lossy().starts_with(".."));
            }
        }
    }
}
