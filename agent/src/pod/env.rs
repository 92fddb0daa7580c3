//! Variables of a container's environment. Pure.

use k8s_openapi::api::core::v1::EnvVar;
use pinnace_cri::v1::KeyValue;

/// Literal values in order; a later one of the same name wins, as in the kubelet's map.
#[must_use]
pub fn variables(vars: &[EnvVar]) -> Vec<KeyValue> {
    let last = |name: &str| vars.iter().rposition(|var| var.name == name);
    vars.iter()
        .enumerate()
        .filter(|(index, var)| last(&var.name) == Some(*index))
        .map(|(_, var)| KeyValue {
            key: var.name.clone(),
            value: var.value.clone().unwrap_or_default().into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_two_variables_of_one_name_wins() {
        let vars = json!([{ "name": "A", "value": "1" }, { "name": "B" }, { "name": "A", "value": "2" }]);
        let vars: Vec<EnvVar> = serde_json::from_value(vars).unwrap();
        let env: Vec<_> = variables(&vars).into_iter().map(|var| (var.key, var.value)).collect();
        assert_eq!(env, [("B".to_owned(), Vec::new()), ("A".to_owned(), b"2".to_vec())]);
    }
}
