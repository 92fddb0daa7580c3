//! What of the machine pods may not use: the reservations and the hard eviction thresholds. Pure.

use std::collections::BTreeMap;

use super::file::KubeletConfiguration;
use super::range::Fault;
use crate::quantity::Quantity;

/// What can be reserved (`parseResourceList` in `cmd/kubelet/app/server.go`).
const RESERVABLE: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pid"];
/// The kubelet's default of `memory.available` (`pkg/kubelet/eviction/defaults_linux.go`).
const DEFAULT_MEMORY: &str = "100Mi";
/// The kubelet's default of `nodefs.available`.
const DEFAULT_STORAGE: &str = "10%";

/// A limit in units or as a part of the capacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// In the resource's own unit: bytes.
    Units(i64),
    /// Per cent of the capacity, above 0 and below 100.
    Percent(f32),
}

/// What pods may not use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reserved {
    /// `systemReserved` and `kubeReserved` in one: amounts by resource name.
    pub amounts: BTreeMap<String, Vec<Quantity>>,
    /// Hard eviction threshold of memory.
    pub memory: Option<Threshold>,
    /// Hard eviction threshold of the node's file system.
    pub storage: Option<Threshold>,
}

impl Threshold {
    /// Reads a threshold; none if it switches itself off: 0 %, 100 %.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f32 = percent.parse().ok()?;
                (percent > 0.0 && percent < 100.0).then_some(Self::Percent(percent))
            }
            None => Quantity::parse(text).ok().map(|quantity| Self::Units(quantity.value())),
        }
    }

    /// In the unit of `capacity`. Percentages are single-precision and the product is double, as in
    /// `GetThresholdQuantity` (`pkg/kubelet/eviction/api/types.go`), so that both agree to the byte.
    #[must_use]
    pub fn of(self, capacity: i64) -> i64 {
        match self {
            Self::Units(units) => units,
            Self::Percent(percent) => (capacity as f64 * f64::from(percent / 100.0)) as i64,
        }
    }
}

/// Reads the file's reservations and thresholds; thresholds that cannot be read are the range check's matter.
pub fn read(file: &KubeletConfiguration, faults: &mut Vec<Fault>) -> Reserved {
    let mut reserved = Reserved::default();
    for (field, map) in [("systemReserved", &file.system_reserved), ("kubeReserved", &file.kube_reserved)] {
        for (resource, text) in map.iter().flatten() {
            match amount(resource, text) {
                Ok(amount) => reserved.amounts.entry(resource.clone()).or_default().push(amount),
                Err(reason) => faults.push((format!("{field}[{resource}]"), reason)),
            }
        }
    }
    let merge = file.merge_default_eviction_settings.unwrap_or(false);
    let default = |text| (merge || file.eviction_hard.is_none()).then_some(text);
    let threshold = |signal: &str, fallback| {
        let named = file.eviction_hard.as_ref().and_then(|map| map.get(signal)).map(String::as_str);
        named.or(default(fallback)).and_then(Threshold::parse)
    };
    reserved.memory = threshold("memory.available", DEFAULT_MEMORY);
    reserved.storage = threshold("nodefs.available", DEFAULT_STORAGE);
    reserved
}

fn amount(resource: &str, text: &str) -> Result<Quantity, String> {
    if !RESERVABLE.contains(&resource) {
        return Err(format!("cannot be reserved; {} can", RESERVABLE.join(", ")));
    }
    let amount = Quantity::parse(text).map_err(|error| format!("{error}: {text:?}"))?;
    if amount < Quantity::ZERO {
        return Err(format!("must not be negative, is {text:?}"));
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reserved(file: serde_json::Value) -> (Reserved, Vec<Fault>) {
        let mut faults = Vec::new();
        let reserved = read(&serde_json::from_value(file).unwrap(), &mut faults);
        (reserved, faults)
    }

    #[test]
    fn defaults_hold_until_any_threshold_is_named() {
        let (defaults, _) = reserved(json!({}));
        assert_eq!(defaults.memory, Some(Threshold::Units(100 << 20)));
        assert_eq!(defaults.storage, Some(Threshold::Percent(10.0)));
        let (own, _) = reserved(json!({"evictionHard": {"memory.available": "5%"}}));
        assert_eq!((own.memory, own.storage), (Some(Threshold::Percent(5.0)), None));
        let (merged, _) = reserved(
            json!({"evictionHard": {"memory.available": "0%"}, "mergeDefaultEvictionSettings": true}),
        );
        assert_eq!((merged.memory, merged.storage), (None, Some(Threshold::Percent(10.0))));
    }

    #[test]
    fn percentages_are_those_of_the_kubelet() {
        assert_eq!(Threshold::Percent(10.0).of(105_088_212_992), 10_508_821_455);
        assert_eq!(Threshold::Units(7).of(1), 7);
    }

    #[test]
    fn what_cannot_be_reserved_is_named() {
        let (_, faults) = reserved(json!({"kubeReserved": {"gpu": "1", "cpu": "-1", "memory": "lots"}}));
        let fields: Vec<_> = faults.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["kubeReserved[cpu]", "kubeReserved[gpu]", "kubeReserved[memory]"]);
    }
}
