//! Decides whether bytes are one bounded YAML or JSON document, and which value it is.
//!
//! YAML goes through a JSON value, as in Kubernetes: `0644` is octal and `yes` is a boolean, so that a file
//! means here what it means to kubectl. Messages name a place and a key, never a scalar of the file.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Error as YamlError;

use super::{MAX_MANIFEST_BYTES, quoted};
use crate::source::fault::Fault;

/// Deepest nesting that is accepted. A pod needs about 12 levels.
const MAX_DEPTH: usize = 64;

/// Most nodes in a document after aliases are expanded: a pod at the size limit has fewer.
const MAX_NODES: usize = 150_000;

/// Most nodes that aliases may add.
const MAX_REPLAYED: usize = 20_000;

/// Most bytes of text in all, after aliases are expanded: four times the largest file.
const MAX_SCALAR_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn to_value(bytes: &[u8], is_json: bool) -> Result<Value, Fault> {
    let text = plain_text(bytes)?;
    if !text.trim_start().starts_with('{') {
        return yaml(without_end_markers(text));
    }
    match json(text) {
        Ok(value) => Ok(value),
        Err(refused) if refused.is_data() || is_json => Err(json_fault(&refused)),
        // A YAML document may also begin with a brace.
        Err(_) => yaml(text),
    }
}

fn plain_text(bytes: &[u8]) -> Result<&str, Fault> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_MANIFEST_BYTES {
        return Err(Fault::whole(format!("is larger than {MAX_MANIFEST_BYTES} bytes")));
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Fault::whole(format!("has a NUL byte at offset {offset}")));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Fault::whole(format!("is not UTF-8 from offset {} on", error.valid_up_to())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() { Err(Fault::whole("is empty")) } else { Ok(text) }
}

/// A separator at the very end begins no further manifest.
fn without_end_markers(text: &str) -> &str {
    let mut text = text;
    while let Some(before) = text.trim_end().strip_suffix("\n---") {
        text = before;
    }
    text
}

fn yaml(text: &str) -> Result<Value, Fault> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_recorded_anchor_events: MAX_REPLAYED,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
            max_documents: 2,
            max_total_scalar_bytes: MAX_SCALAR_BYTES,
            max_recorded_anchor_bytes: MAX_SCALAR_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        legacy_octal_numbers: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| yaml_fault(error.without_snippet(), text))?;
    if value.is_null() { Err(Fault::whole("is empty")) } else { Ok(value) }
}

fn yaml_fault(error: &YamlError, text: &str) -> Fault {
    let mut what = yaml_reason(error);
    // Words of the parser help, but they may quote a character or a name; of a Secret nothing is quoted.
    if let YamlError::ExternalMessage { msg, .. } = error
        && !text.contains("Secret")
    {
        what = format!("{what}: {}", msg.chars().take(200).collect::<String>());
    }
    match error.location() {
        Some(place) => Fault::whole(format!("{what} (line {}, column {})", place.line(), place.column())),
        None => Fault::whole(what),
    }
}

fn yaml_reason(error: &YamlError) -> String {
    match error {
        YamlError::MultipleDocuments { .. } => {
            "has more than one document, expected one manifest per file".into()
        }
        YamlError::DuplicateMappingKey { key: Some(key), .. } => format!("has the key {} twice", quoted(key)),
        YamlError::DuplicateMappingKey { key: None, .. } => "has a key twice".into(),
        YamlError::Budget { breach, .. } => budget_reason(breach),
        YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => "expands aliases beyond the limit".into(),
        YamlError::AliasError { error, .. } => yaml_reason(error),
        YamlError::UnknownAnchor { .. } => "has an alias without an anchor".into(),
        YamlError::NonFiniteFloat { .. } => "has a number that is not finite".into(),
        YamlError::InvalidScalar { ty, .. } => format!("is not valid YAML: invalid {ty}"),
        YamlError::Unexpected { expected, .. } => format!("is not valid YAML: expected {expected}"),
        _ => "is not valid YAML".into(),
    }
}

fn budget_reason(breach: &serde_saphyr::budget::BudgetBreach) -> String {
    use serde_saphyr::budget::BudgetBreach as Breach;
    match breach {
        Breach::Depth { .. } => format!("is nested deeper than {MAX_DEPTH} levels"),
        Breach::Documents { .. } => "has more than one document, expected one manifest per file".into(),
        Breach::Nodes { .. } | Breach::Events { .. } => format!("has more than {MAX_NODES} nodes"),
        Breach::ScalarBytes { .. } => {
            format!("has more than {MAX_SCALAR_BYTES} bytes of text, aliases expanded")
        }
        _ => "uses aliases, anchors or merge keys beyond the limit".into(),
    }
}

fn json(text: &str) -> Result<Value, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0 }.deserialize(&mut from)?;
    from.end()?;
    Ok(value)
}

fn json_fault(error: &serde_json::Error) -> Fault {
    // serde_json's messages name what was expected; those of `Strict` name keys.
    Fault::whole(format!("is not valid JSON: {error}"))
}

/// A JSON value without duplicate keys: the reader of `serde_json` would keep the last of them in silence.
struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Self { depth: self.depth + 1 })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(Key(key)) = from.next_key()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {} is there twice", quoted(&key))));
            }
            map.insert(key, from.next_value_seed(Self { depth: self.depth + 1 })?);
        }
        Ok(Value::Object(map))
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key(String);
