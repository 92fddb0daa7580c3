//! Strategic merge patch, as k8s.io/apimachinery `pkg/util/strategicpatch` does it for one patch on one object.

use serde_json::{Map, Value};

use super::directives::{self, DELETE_FROM, ORDER, PATCH, RETAIN};
use super::schema::{self, List};

/// Applies `patch` to `object` of `kind`. The error is the server's word on a patch that makes no sense.
pub fn merge(kind: &str, object: &mut Value, patch: &Value) -> Result<(), String> {
    let (Some(object), Some(patch)) = (object.as_object_mut(), patch.as_object()) else {
        return Err("a patch is a JSON object".to_owned());
    };
    Merger { kind }.maps(object, patch, "")
}

struct Merger<'a> {
    kind: &'a str,
}

impl Merger<'_> {
    fn maps(
        &self,
        into: &mut Map<String, Value>,
        patch: &Map<String, Value>,
        path: &str,
    ) -> Result<(), String> {
        match directives::of(patch) {
            Some("replace") => {
                let without = patch.iter().filter(|(key, _)| *key != PATCH);
                *into = without.map(|(key, value)| (key.clone(), value.clone())).collect();
                return Ok(());
            }
            Some("delete") => {
                into.clear();
                return Ok(());
            }
            Some(other) => return Err(format!("unknown patch type: {other} in map")),
            None => {}
        }
        retain(into, patch);
        for (key, order) in patch {
            if let Some(field) = key.strip_prefix(ORDER) {
                self.check_order(patch.get(field), order, &join(path, field))?;
                let lists =
                    [into.get(field), patch.get(field)].into_iter().flatten().filter_map(Value::as_array);
                if lists.clone().next().is_some() && lists.clone().all(Vec::is_empty) {
                    return Err("no elements in any of the given slices".to_owned());
                }
            }
        }
        let before = into.clone();
        for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
            self.field(into, key, value, &join(path, key))?;
        }
        for (key, value) in patch {
            if let Some(field) = key.strip_prefix(DELETE_FROM) {
                delete_from(into, field, value)?;
            }
        }
        for (key, value) in patch {
            if let Some(field) = key.strip_prefix(ORDER) {
                self.order(into, &before, field, value, &join(path, field))?;
            }
        }
        Ok(())
    }

    fn field(
        &self,
        into: &mut Map<String, Value>,
        key: &str,
        value: &Value,
        path: &str,
    ) -> Result<(), String> {
        let merged = match (into.get_mut(key), value) {
            (_, Value::Null) => None,
            (Some(Value::Object(held)), Value::Object(given)) => return self.maps(held, given, path),
            (Some(Value::Array(held)), Value::Array(given)) => Some(self.lists(held, given, path)?),
            (_, fresh) => directives::stripped(fresh),
        };
        match merged {
            Some(merged) => into.insert(key.to_owned(), merged),
            None => into.remove(key),
        };
        Ok(())
    }

    fn lists(&self, held: &[Value], given: &[Value], path: &str) -> Result<Value, String> {
        let merged = match schema::list(self.kind, path) {
            List::Atomic => given.to_vec(),
            List::Set => {
                let mut merged = held.to_vec();
                for item in given {
                    if !merged.contains(item) {
                        merged.push(item.clone());
                    }
                }
                directives::sorted(&merged, held, given, |left, right| left == right)
            }
            List::Keyed(key) => self.keyed(held, given, key, path)?,
        };
        Ok(Value::Array(merged))
    }

    fn keyed(&self, held: &[Value], given: &[Value], key: &str, path: &str) -> Result<Vec<Value>, String> {
        let mut merged = held.to_vec();
        let mut data = Vec::new();
        for item in given {
            let Some(map) = item.as_object() else { return Err(format!("{path}: an element is not a map")) };
            match directives::of(map) {
                None => data.push(map),
                Some("replace") => merged.clear(),
                Some("delete") => {
                    let named = map.get(key).ok_or_else(|| no_key(map, key))?;
                    merged.retain(|known| known.get(key) != Some(named));
                }
                Some("merge") => return Err("merging lists cannot yet be specified in the patch".to_owned()),
                Some(other) => return Err(format!("unknown patch type: {other} in map")),
            }
        }
        let before = merged.clone();
        for map in &data {
            let named = map.get(key).ok_or_else(|| no_key(map, key))?;
            let found = merged.iter_mut().find(|known| known.get(key) == Some(named));
            match found.and_then(Value::as_object_mut) {
                Some(known) => self.maps(known, map, path)?,
                None => merged.extend(directives::stripped(&Value::Object((*map).clone()))),
            }
        }
        // Elements of the patch come in its order, new ones before what only the server has.
        let order: Vec<Value> = data.into_iter().map(|map| Value::Object(map.clone())).collect();
        let same = |left: &Value, right: &Value| left.get(key).is_some() && left.get(key) == right.get(key);
        Ok(directives::sorted(&merged, &before, &order, same))
    }

    /// The elements of a patch must come in the order that it gives.
    fn check_order(&self, given: Option<&Value>, order: &Value, path: &str) -> Result<(), String> {
        let (Some(Value::Array(given)), Value::Array(order)) = (given, order) else { return Ok(()) };
        let same = |left: &Value, right: &Value| match schema::list(self.kind, path) {
            List::Keyed(key) => left.get(key).is_some() && left.get(key) == right.get(key),
            List::Set | List::Atomic => left == right,
        };
        let orders = |item: &Value| item.as_object().and_then(directives::of).map(str::to_owned);
        let mut items = given.iter().filter(|item| orders(item).as_deref() != Some("delete")).peekable();
        let mut left = order.iter();
        // Orders are passed over, but only as long as there is something left to compare with.
        while left.len() > 0 && items.peek().is_some() {
            if items.next_if(|item| orders(item).is_some()).is_some() {
                continue;
            }
            let Some(named) = left.next() else { break };
            let _matched = items.next_if(|item| same(named, item));
        }
        if order.is_empty() || items.peek().is_none() {
            return Ok(());
        }
        let (given, order) = (Value::from(given.clone()), Value::from(order.clone()));
        Err(format!("The order in patch list:\n{given}\n doesn't match $setElementOrder list:\n{order}\n"))
    }

    fn order(
        &self,
        into: &mut Map<String, Value>,
        before: &Map<String, Value>,
        field: &str,
        order: &Value,
        path: &str,
    ) -> Result<(), String> {
        let Some(order) = order.as_array() else { return Err(format!("{ORDER}{field} is not a list")) };
        let Some(Value::Array(list)) = into.get(field) else { return Ok(()) };
        let empty = Vec::new();
        let before = before.get(field).and_then(Value::as_array).unwrap_or(&empty);
        let same = |left: &Value, right: &Value| match schema::list(self.kind, path) {
            List::Keyed(key) => left.get(key).is_some() && left.get(key) == right.get(key),
            List::Set | List::Atomic => left == right,
        };
        let sorted = directives::sorted(list, before, order, same);
        into.insert(field.to_owned(), Value::Array(sorted));
        Ok(())
    }
}

fn retain(into: &mut Map<String, Value>, patch: &Map<String, Value>) {
    let Some(kept) = patch.get(RETAIN).and_then(Value::as_array) else { return };
    into.retain(|key, _| kept.iter().any(|name| name.as_str() == Some(key)));
}

fn delete_from(into: &mut Map<String, Value>, field: &str, gone: &Value) -> Result<(), String> {
    let Some(gone) = gone.as_array() else { return Err(format!("{DELETE_FROM}{field} is not a list")) };
    if let Some(Value::Array(list)) = into.get_mut(field) {
        list.retain(|item| !gone.contains(item));
    }
    Ok(())
}

fn no_key(map: &Map<String, Value>, key: &str) -> String {
    format!("map: {} does not contain declared merge key: {key}", Value::Object(map.clone()))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
