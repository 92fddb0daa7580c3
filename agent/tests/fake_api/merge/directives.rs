//! The keys of a strategic merge patch that are orders and not data.

use serde_json::{Map, Value};

/// `$patch: replace | delete | merge`.
pub const PATCH: &str = "$patch";
/// `$deleteFromPrimitiveList/FIELD: [...]`.
pub const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
/// `$setElementOrder/FIELD: [...]`.
pub const ORDER: &str = "$setElementOrder/";
/// `$retainKeys: [...]`: other keys of this map go.
pub const RETAIN: &str = "$retainKeys";

/// The order that a map or an element of a list gives about itself.
pub fn of(map: &Map<String, Value>) -> Option<&str> {
    map.get(PATCH).and_then(Value::as_str)
}

/// A value of a patch as it is stored where nothing was before: without orders and without nulls.
/// None when the value is an order itself.
pub fn stripped(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            if map.contains_key(PATCH) {
                return None;
            }
            let kept = map.iter().filter(|(key, value)| !key.starts_with('$') && !value.is_null());
            let kept = kept.filter_map(|(key, value)| Some((key.clone(), stripped(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(stripped).collect())),
        plain => Some(plain.clone()),
    }
}

/// `list` in the order that `order` gives; what `order` does not name keeps its place relative to its neighbours.
pub fn sorted(
    list: &[Value],
    before: &[Value],
    order: &[Value],
    same: impl Fn(&Value, &Value) -> bool,
) -> Vec<Value> {
    let rank = |item: &Value| order.iter().position(|named| same(named, item));
    let mut named: Vec<(usize, &Value)> = list.iter().filter_map(|item| Some((rank(item)?, item))).collect();
    named.sort_by_key(|(rank, _)| *rank);
    let held = |item: &Value| before.iter().position(|known| same(known, item));
    let mut unnamed = list.iter().filter(|item| rank(item).is_none()).peekable();
    let mut merged = Vec::with_capacity(list.len());
    for (_, item) in named {
        while let Some(other) = unnamed.peek() {
            // Only what stood before this element on the server goes before it.
            let earlier = held(other).zip(held(item)).is_some_and(|(other, item)| other < item);
            if !earlier {
                break;
            }
            merged.push((*other).clone());
            unnamed.next();
        }
        merged.push(item.clone());
    }
    merged.extend(unnamed.cloned());
    merged
}
