//! The kubelet's command line: read in its grammar, every flag of it known. Pure.
//!
//! ```text
//! argv ─ words (grammar) ─ table (what becomes of each) ┬→ arguments for `pinnace run`
//!                                                       ├→ configuration keys, a layer above all files
//!                                                       └→ warnings
//! ```

pub mod table;
pub mod value;
pub mod words;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use table::{Flag, Kind, To};
use words::{Given, UsageError, Words};

/// What flags say beyond the arguments of `pinnace run`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extra {
    /// Configuration keys.
    pub keys: Map<String, Value>,
    /// To be logged once: flags that are accepted and have no effect.
    pub warnings: Vec<String>,
}

/// A command line in the form that `pinnace run` takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Translated {
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
    /// Run.
    Run {
        /// Arguments, each `--name=value`, none twice.
        arguments: Vec<String>,
        /// The rest.
        extra: Extra,
    },
}

/// Reads a command line without its first word. `beside` as in [`words::read`].
pub fn translate(
    arguments: impl IntoIterator<Item = String>,
    beside: &'static [(Flag, char)],
) -> Result<Translated, UsageError> {
    let given = match words::read(arguments, beside)? {
        Words::Help => return Ok(Translated::Help),
        Words::Flags(given) => given,
    };
    // The kubelet's own words for "print the version": true and raw.
    let version = given.iter().rfind(|given| given.flag.name == "version");
    if version.is_some_and(|given| given.text == "raw" || value::switch(&given.text) == Ok(true)) {
        return Ok(Translated::Version);
    }
    let mut values: BTreeMap<&'static str, (&'static Flag, Value)> = BTreeMap::new();
    for Given { flag, text } in given {
        let earlier = values.remove(flag.name).map(|(_, value)| value);
        let value = value::add(earlier, flag.kind, &text)
            .map_err(|reason| UsageError(format!("--{}={text}: {reason}", flag.name)))?;
        values.insert(flag.name, (flag, value));
    }
    Ok(assign(values.into_values()))
}

fn assign(values: impl Iterator<Item = (&'static Flag, Value)>) -> Translated {
    let (mut arguments, mut extra) = (Vec::new(), Extra::default());
    for (flag, value) in values {
        match flag.to {
            To::Argument if flag.name == "version" => {}
            // Without a value: clap takes none for it.
            To::Argument if flag.name == "virtual" => {
                arguments.extend((value == Value::Bool(true)).then(|| "--virtual".to_owned()));
            }
            To::Argument => arguments.push(format!("--{}={}", flag.name, plain(&value))),
            To::Key(path) => put(&mut extra.keys, path, value),
            To::Nothing(reason) => {
                extra.warnings.push(format!("--{} has no effect here: {reason}", flag.name));
            }
        }
    }
    Translated::Run { arguments, extra }
}

/// A value as one text again.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

fn put(keys: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        keys.insert(path.to_owned(), value);
        return;
    };
    let inner = keys.entry(first.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

/// Keys whose value from flags takes the place of the files' whole map, as in the kubelet, where every other map
/// is merged. Feature gates are merged there too.
#[must_use]
pub fn replaced(keys: &Map<String, Value>) -> Vec<String> {
    let is_map = |name: &&String| {
        table::all().any(|flag| {
            matches!(flag.to, To::Key(path) if path == name.as_str())
                && matches!(flag.kind, Kind::Map | Kind::Thresholds | Kind::Pair | Kind::Headers)
        })
    };
    keys.keys().filter(is_map).cloned().collect()
}

#[cfg(test)]
mod tests;
