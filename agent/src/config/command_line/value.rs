//! The text of a flag as the JSON of its configuration key, read as pflag and `k8s.io/component-base/cli/flag` read
//! it. Pure.

use serde_json::{Map, Value, json};

use super::table::Kind;
use crate::config::duration::GoDuration;

/// Adds one occurrence of a flag to what earlier ones said: lists and maps grow, everything else is replaced.
pub fn add(earlier: Option<Value>, kind: Kind, text: &str) -> Result<Value, String> {
    Ok(match kind {
        Kind::Switch => switch(text)?.into(),
        Kind::Text => text.into(),
        Kind::Number => text.parse::<i64>().map_err(|_| "must be a whole number".to_owned())?.into(),
        Kind::Duration => text.parse::<GoDuration>().map_err(|error| error.to_string())?.to_string().into(),
        Kind::List => list(earlier, text),
        Kind::Map => Value::Object(pairs(earlier, split(text), '=')?),
        Kind::Thresholds => Value::Object(pairs(earlier, split(text), '<')?),
        Kind::Pair => Value::Object(pairs(earlier, std::iter::once(text), '=')?),
        Kind::Gates => gates(earlier, text)?,
        Kind::Headers => headers(earlier, text)?,
        Kind::Taints => taints(text)?,
        Kind::Memory => memory(earlier, text)?,
    })
}

/// Go's `strconv.ParseBool`.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|part| !part.is_empty())
}

fn map(earlier: Option<Value>) -> Map<String, Value> {
    match earlier {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn array(earlier: Option<Value>) -> Vec<Value> {
    match earlier {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn list(earlier: Option<Value>, text: &str) -> Value {
    let mut list = array(earlier);
    list.extend(split(text).map(|part| Value::from(part.trim())));
    Value::Array(list)
}

fn pair(text: &str, by: char) -> Result<(String, String), String> {
    let (key, value) = text.split_once(by).ok_or_else(|| format!("must be name{by}value, is {text:?}"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn pairs<'a>(
    earlier: Option<Value>,
    parts: impl Iterator<Item = &'a str>,
    by: char,
) -> Result<Map<String, Value>, String> {
    let mut map = map(earlier);
    for part in parts {
        let (key, value) = pair(part, by)?;
        map.insert(key, value.into());
    }
    Ok(map)
}

fn gates(earlier: Option<Value>, text: &str) -> Result<Value, String> {
    let mut map = map(earlier);
    for part in split(text) {
        let (key, value) = pair(part, '=')?;
        map.insert(key, switch(&value)?.into());
    }
    Ok(map.into())
}

fn headers(earlier: Option<Value>, text: &str) -> Result<Value, String> {
    let mut map = map(earlier);
    for part in split(text) {
        let (key, value) = pair(part, ':')?;
        let mut values = array(map.remove(&key));
        values.push(value.into());
        map.insert(key, values.into());
    }
    Ok(map.into())
}

/// A repeated flag replaces the list, as upstream.
fn taints(text: &str) -> Result<Value, String> {
    let taint = |part: &str| {
        let (head, effect) =
            part.split_once(':').ok_or_else(|| format!("must be key=value:effect, is {part:?}"))?;
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(format!(
                "the effect must be NoSchedule, PreferNoSchedule or NoExecute, is {effect:?}"
            ));
        }
        let (key, value) = head.split_once('=').unwrap_or((head, ""));
        if key.is_empty() || value.contains('=') {
            return Err(format!("must be key=value:effect, is {part:?}"));
        }
        Ok(json!({"key": key, "value": value, "effect": effect}))
    };
    split(text).map(taint).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn memory(earlier: Option<Value>, text: &str) -> Result<Value, String> {
    let mut list = array(earlier);
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let wrong = || format!("must be node:type=quantity, is {part:?}");
        let (node, limits) = part.split_once(':').ok_or_else(wrong)?;
        let node: i32 = node.trim().parse().map_err(|_| wrong())?;
        list.push(json!({"numaNode": node, "limits": pairs(None, split(limits), '=')?}));
    }
    Ok(list.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, texts: &[&str], wanted: Value) {
        let read = texts.iter().try_fold(None, |earlier, text| add(earlier, kind, text).map(Some));
        assert_eq!(read.map_err(Value::from).unwrap_or_else(Some), Some(wanted), "{kind:?} {texts:?}");
    }

    #[test]
    fn texts_are_read_as_pflag_reads_them() {
        check(Kind::Switch, &["T"], json!(true));
        check(Kind::Switch, &["yes"], json!("must be true or false"));
        check(Kind::Number, &["-5"], json!(-5));
        check(Kind::Number, &["x"], json!("must be a whole number"));
        check(Kind::Duration, &["90s"], json!("1m30s"));
        check(Kind::List, &["a, b", "c"], json!(["a", "b", "c"]));
        check(Kind::List, &[""], json!([]));
        check(Kind::Map, &["a=1,b=2=3", "a=4"], json!({"a": "4", "b": "2=3"}));
        check(Kind::Map, &["a"], json!("must be name=value, is \"a\""));
        check(
            Kind::Thresholds,
            &["memory.available<1Gi,nodefs.available<5%"],
            json!({"memory.available": "1Gi", "nodefs.available": "5%"}),
        );
        check(Kind::Pair, &["a=1,b=2"], json!({"a": "1,b=2"}));
        check(Kind::Gates, &["A=true", "B=false"], json!({"A": true, "B": false}));
        check(Kind::Headers, &["a:1,b:2", "a:3"], json!({"a": ["1", "3"], "b": ["2"]}));
        check(
            Kind::Taints,
            &["a=b:NoSchedule,c:NoExecute"],
            json!([{"key": "a", "value": "b", "effect": "NoSchedule"},
                {"key": "c", "value": "", "effect": "NoExecute"}]),
        );
        check(
            Kind::Taints,
            &["a=b:Never"],
            json!("the effect must be NoSchedule, PreferNoSchedule or NoExecute, is \"Never\""),
        );
        check(
            Kind::Memory,
            &["0:memory=1Gi,hugepages-1M=2Gi;1:memory=2Gi"],
            json!([{"numaNode": 0, "limits": {"memory": "1Gi", "hugepages-1M": "2Gi"}},
                {"numaNode": 1, "limits": {"memory": "2Gi"}}]),
        );
    }
}
