//! Configuration layers: one file or the command line each, merged before anything is typed, so that a later
//! layer can set a zero value and an error can name the layer that said it. Pure.
//!
//! Merging is JSON merge patch (RFC 7386), as the kubelet does with its drop-ins: maps are merged key by key,
//! everything else is replaced, and null removes.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::ConfigError;
use super::file::KubeletConfiguration;

/// The only version that is read.
pub const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
/// The only kind that is read.
pub const KIND: &str = "KubeletConfiguration";

/// What an error calls the layer of the flags ([`super::flags`]).
pub const COMMAND_LINE: &str = "command line";

/// Paths that a file may give relative to its own directory
/// (upstream: `KubeletConfigurationPathRefs` in `pkg/kubelet/apis/config/helpers.go`).
const RELATIVE_TO_FILE: [&str; 5] = [
    "/staticPodPath",
    "/authentication/x509/clientCAFile",
    "/tlsCertFile",
    "/tlsPrivateKeyFile",
    "/resolvConf",
];

/// One source of settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// What an error calls it: a path, or `command line`.
    pub name: String,
    /// What it says; always a map.
    pub value: Value,
}

/// Reads one file. The warnings are about keys that nobody knows and keys that occur twice.
pub fn parse(path: &Path, text: &str) -> Result<(Layer, Vec<String>), ConfigError> {
    let name = path.display().to_string();
    let (mut value, mut warnings) = yaml(&name, text)?;
    check_type(&name, &value)?;
    let (_, unknown) = typed(&name, &value)?;
    warnings.extend(unknown.into_iter().map(|key| format!("{name}: {key}: unknown key, ignored")));
    if let Some(directory) = path.parent() {
        anchor(&mut value, directory);
    }
    Ok((Layer { name, value }, warnings))
}

/// YAML or JSON to a value. A key that occurs twice is a warning and its last value counts, as in the kubelet.
fn yaml(name: &str, text: &str) -> Result<(Value, Vec<String>), ConfigError> {
    use serde_saphyr::options::DuplicateKeyPolicy::{Error, LastWins};
    // No snippets: an error must not echo the file.
    let strict = serde_saphyr::options! {
        legacy_octal_numbers: true, with_snippet: false, duplicate_keys: Error
    };
    let lenient = serde_saphyr::options! {
        legacy_octal_numbers: true, with_snippet: false, duplicate_keys: LastWins
    };
    let first = match serde_saphyr::from_str_with_options(text, strict) {
        Ok(value) => return Ok((value, Vec::new())),
        Err(error) => error.to_string(),
    };
    match serde_saphyr::from_str_with_options(text, lenient) {
        Ok(value) => Ok((value, vec![format!("{name}: {first}; the last value counts")])),
        Err(error) => Err(ConfigError::whole(name, format!("not valid YAML: {error}"))),
    }
}

fn check_type(name: &str, value: &Value) -> Result<(), ConfigError> {
    let Some(map) = value.as_object() else {
        return Err(ConfigError::whole(name, format!("must be a map with apiVersion {API_VERSION}")));
    };
    for (field, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match map.get(field).and_then(Value::as_str) {
            Some(found) if found == wanted => {}
            Some(found) => {
                return Err(ConfigError::at(name, field, format!("must be {wanted}, is {found:?}")));
            }
            None => return Err(ConfigError::at(name, field, format!("must be {wanted}, is missing"))),
        }
    }
    Ok(())
}

/// The typed form of a value, and the paths of keys that nobody knows.
pub fn typed(name: &str, value: &Value) -> Result<(KubeletConfiguration, Vec<String>), ConfigError> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let located = serde_path_to_error::Deserializer::new(value, &mut track);
    let result = serde_ignored::deserialize(located, |path| unknown.push(plain_path(&path.to_string())));
    match result {
        Ok(config) => Ok((config, unknown)),
        Err(error) => Err(ConfigError::at(name, &track.path().to_string(), error.to_string())),
    }
}

/// `serde_ignored` marks a step through an `Option` with `?`.
fn plain_path(path: &str) -> String {
    path.replace(".?", "")
}

/// Makes the paths in a layer absolute.
pub(super) fn anchor(value: &mut Value, directory: &Path) {
    for pointer in RELATIVE_TO_FILE {
        let Some(Value::String(text)) = value.pointer_mut(pointer) else { continue };
        if !text.is_empty() && Path::new(text).is_relative() {
            *text = directory.join(&*text).display().to_string();
        }
    }
}

/// All layers in one value; a later layer wins.
#[must_use]
pub fn merge(layers: &[Layer]) -> Value {
    let mut merged = Value::Object(Map::new());
    for layer in layers {
        patch(&mut merged, &layer.value);
    }
    merged
}

fn patch(base: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *base = change.clone();
        return;
    };
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    let Value::Object(base) = base else { return };
    for (key, value) in change {
        if value.is_null() {
            base.remove(key);
        } else {
            patch(base.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The name of the layer that a field's value comes from: the last that has it.
#[must_use]
pub fn origin<'a>(layers: &'a [Layer], field: &str) -> &'a str {
    let has = |layer: &&Layer| {
        let mut steps = field.split('.');
        steps.try_fold(&layer.value, |value, step| value.get(step)).is_some()
    };
    layers.iter().rev().find(has).map_or("default", |layer| &layer.name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

    fn layer(value: Value) -> Layer {
        Layer { name: "x".to_owned(), value }
    }

    fn error(text: &str) -> String {
        parse(Path::new("/etc/k.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn b21_lists_are_replaced_maps_merged_zero_values_kept() {
        let merged = merge(&[
            layer(json!({
                "clusterDNS": ["10.0.0.1", "10.0.0.2"], "maxPods": 50, "healthzPort": 1, "port": 9,
                "evictionHard": {"memory.available": "1Gi", "nodefs.available": "5%"},
            })),
            layer(json!({
                "clusterDNS": ["10.0.0.9"], "healthzPort": 0, "serializeImagePulls": false, "port": null,
                "evictionHard": {"memory.available": "2Gi"},
            })),
        ]);
        assert_eq!(
            merged,
            json!({
                "clusterDNS": ["10.0.0.9"], "maxPods": 50, "healthzPort": 0, "serializeImagePulls": false,
                "evictionHard": {"memory.available": "2Gi", "nodefs.available": "5%"},
            })
        );
    }

    #[test]
    fn wrong_types_name_file_and_field() {
        assert_eq!(
            error(&format!("{HEAD}maxPods: many\n")),
            "/etc/k.yaml: maxPods: invalid type: string \"many\", expected i32"
        );
        assert_eq!(
            error(&format!("{HEAD}authentication:\n  webhook:\n    cacheTTL: 10\n")),
            "/etc/k.yaml: authentication.webhook.cacheTTL: invalid type: integer `10`, expected a string"
        );
        assert_eq!(
            error(&format!("{HEAD}syncFrequency: 1y\n")),
            "/etc/k.yaml: syncFrequency: duration needs a unit (ns, us, ms, s, m, h) after every number: \"1y\""
        );
        assert_eq!(
            error(&format!("{HEAD}clusterDNS: [10.0.0.1, 7]\n")),
            "/etc/k.yaml: clusterDNS[1]: invalid type: integer `7`, expected a string"
        );
    }

    #[test]
    fn wrong_kind_or_version_or_form_is_refused() {
        assert_eq!(
            error("kind: KubeletConfiguration\n"),
            "/etc/k.yaml: apiVersion: must be kubelet.config.k8s.io/v1beta1, is missing"
        );
        assert_eq!(
            error("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: Pod\n"),
            "/etc/k.yaml: kind: must be KubeletConfiguration, is \"Pod\""
        );
        assert!(error("").contains("must be a map"), "{}", error(""));
        assert!(error("a: [").contains("not valid YAML"), "{}", error("a: ["));
    }

    #[test]
    fn unknown_and_repeated_keys_warn_and_do_not_stop() {
        let text = format!("{HEAD}maxPods: 1\nmaxPods: 2\nnoSuch: 1\nlogging: {{odd: 1}}\n");
        let (layer, warnings) = parse(Path::new("k"), &text).unwrap();
        assert_eq!(layer.value["maxPods"], json!(2));
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].contains("duplicate") && warnings[0].contains("maxPods"), "{warnings:?}");
        assert!(warnings.iter().any(|w| w == "k: noSuch: unknown key, ignored"), "{warnings:?}");
        assert!(warnings.iter().any(|w| w == "k: logging.odd: unknown key, ignored"), "{warnings:?}");
    }

    #[test]
    fn relative_paths_belong_to_the_file() {
        let text = format!("{HEAD}staticPodPath: manifests\nresolvConf: \"\"\n");
        let (layer, _) = parse(Path::new("/etc/kubelet/k.yaml"), &text).unwrap();
        assert_eq!(layer.value["staticPodPath"], json!("/etc/kubelet/manifests"));
        assert_eq!(layer.value["resolvConf"], json!(""));
    }

    #[test]
    fn an_error_names_the_layer_that_said_it() {
        let file = Layer { name: "file".to_owned(), value: json!({"a": {"b": 1}, "c": 1}) };
        let flags = Layer { name: "command line".to_owned(), value: json!({"c": 2}) };
        let layers = [file, flags];
        assert_eq!(origin(&layers, "a.b"), "file");
        assert_eq!(origin(&layers, "c"), "command line");
        assert_eq!(origin(&layers, "d"), "default");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from)];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn b21_merging_twice_changes_nothing(a in any_value(), b in any_value()) {
            let maps = [layer(json!({"m": a})), layer(json!({"m": b}))];
            let once = merge(&maps);
            let again = merge(&[layer(once.clone()), maps[1].clone()]);
            prop_assert_eq!(once, again);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = parse(Path::new("k"), &text);
        }
    }
}
