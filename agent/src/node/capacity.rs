//! Decides what the machine has and what of it pods may use. Pure.
//!
//! Allocatable is capacity less `systemReserved`, `kubeReserved` and the hard eviction thresholds of memory and of the
//! node's file system; huge pages are taken off memory (`MachineInfo` in `pkg/kubelet/nodestatus/setters.go`,
//! `GetNodeAllocatableReservation` in `pkg/kubelet/cm`).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::amount;
use crate::config::reserve::Reserved;
use crate::host::machine::Machine;
use crate::quantity::Quantity;

/// What the node has and gives, by resource name, in the API's words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// What there is.
    pub capacity: BTreeMap<String, Text>,
    /// What pods may use.
    pub allocatable: BTreeMap<String, Text>,
}

/// Limits on the number of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodLimits {
    /// `maxPods`.
    pub most: u32,
    /// `podsPerCore`; none if there is no such limit.
    pub per_core: Option<u32>,
}

/// The machine's resources, and a sentence for each reservation that is larger than what there is.
#[must_use]
pub fn resources(machine: &Machine, pods: PodLimits, reserved: &Reserved) -> (Resources, Vec<String>) {
    let mut resources = Resources::default();
    let mut excess = Vec::new();
    let mut add = |name: &str, write: fn(i64) -> Text, total: i64, taken: i64| {
        if taken > total {
            excess.push(format!(
                "Resource \"{name}\" has a reservation of {} but capacity of {}. Expected capacity >= reservation.",
                write(taken).0,
                write(total).0
            ));
        }
        resources.capacity.insert(name.to_owned(), write(total));
        resources.allocatable.insert(name.to_owned(), write(total.saturating_sub(taken).max(0)));
    };
    let named = |name: &str, unit: fn(Quantity) -> i64| {
        let amounts = reserved.amounts.get(name).into_iter().flatten();
        amounts.fold(0_i64, |sum, amount| sum.saturating_add(unit(*amount)))
    };
    let milli = |quantity: Quantity| quantity.milli().unwrap_or(i64::MAX);
    add("cpu", amount::milli, i64::from(machine.cpus).saturating_mul(1_000), named("cpu", milli));

    let evicted = reserved.memory.map_or(0, |threshold| threshold.of(machine.memory));
    let taken = named("memory", Quantity::value).saturating_add(evicted);
    let huge = machine.hugepages.values().fold(0_i64, |sum, bytes| sum.saturating_add(*bytes));
    add("memory", amount::bytes, machine.memory, taken.saturating_add(huge));

    if let Some(storage) = machine.storage {
        let evicted = reserved.storage.map_or(0, |threshold| threshold.of(storage));
        let taken = named("ephemeral-storage", Quantity::value).saturating_add(evicted);
        add("ephemeral-storage", amount::bytes, storage, taken);
    }
    for (size, total) in &machine.hugepages {
        add(&format!("hugepages-{}", amount::bytes(*size).0), amount::bytes, *total, 0);
    }
    let by_cores = pods.per_core.map(|pods| pods.saturating_mul(machine.cpus));
    let pods = by_cores.map_or(pods.most, |by_cores| by_cores.min(pods.most));
    add("pods", amount::count, i64::from(pods), 0);
    (resources, excess)
}

/// Resources without which the node is not ready, that are not in `capacity`.
#[must_use]
pub fn missing(capacity: &BTreeMap<String, Text>) -> Vec<&'static str> {
    let needed = ["cpu", "memory", "pods", "ephemeral-storage"];
    needed.into_iter().filter(|name| !capacity.contains_key(*name)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::reserve::Threshold;

    fn machine() -> Machine {
        Machine {
            cpus: 4,
            memory: 8 << 30,
            hugepages: BTreeMap::from([(2 << 20, 1 << 30), (1 << 30, 0)]),
            storage: Some(100_000_000_000),
            ..Machine::default()
        }
    }

    fn reserved(amounts: &[(&str, &str)]) -> Reserved {
        let mut reserved = Reserved::default();
        for (name, text) in amounts {
            let amount = Quantity::parse(text).unwrap();
            reserved.amounts.entry((*name).to_owned()).or_default().push(amount);
        }
        reserved.memory = Some(Threshold::Units(100 << 20));
        reserved.storage = Some(Threshold::Percent(10.0));
        reserved
    }

    const PODS: PodLimits = PodLimits { most: 110, per_core: None };

    #[test]
    fn allocatable_is_capacity_less_what_is_kept() {
        let kept = reserved(&[("cpu", "100m"), ("cpu", "50m"), ("memory", "1Gi")]);
        let (resources, excess) = resources(&machine(), PODS, &kept);
        assert_eq!(excess, Vec::<String>::new());
        let text = |map: &BTreeMap<String, Text>| {
            map.iter().map(|(name, text)| format!("{name}={}", text.0)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            text(&resources.capacity),
            "cpu=4 ephemeral-storage=97656250Ki hugepages-1Gi=0 hugepages-2Mi=1Gi memory=8Gi pods=110"
        );
        assert_eq!(
            text(&resources.allocatable),
            "cpu=3850m ephemeral-storage=89999999851 hugepages-1Gi=0 hugepages-2Mi=1Gi memory=6044Mi pods=110"
        );
    }

    #[test]
    fn too_large_a_reservation_is_told_and_nothing_goes_below_zero() {
        let (resources, excess) = resources(&machine(), PODS, &reserved(&[("cpu", "5")]));
        assert_eq!(resources.allocatable["cpu"].0, "0");
        assert_eq!(
            excess,
            ["Resource \"cpu\" has a reservation of 5 but capacity of 4. Expected capacity >= reservation."]
        );
    }

    #[test]
    fn pods_follow_the_cores_where_that_is_less() {
        let pods = |most, per_core| {
            let limits = PodLimits { most, per_core };
            resources(&machine(), limits, &Reserved::default()).0.capacity["pods"].0.clone()
        };
        assert_eq!(
            (pods(110, Some(10)), pods(20, Some(10)), pods(110, None)),
            ("40".into(), "20".into(), "110".into())
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let (resources, _) = resources(&Machine { storage: None, ..machine() }, PODS, &Reserved::default());
        assert_eq!(missing(&resources.capacity), ["ephemeral-storage"]);
    }

    proptest! {
        #[test]
        fn allocatable_is_never_negative_nor_above_capacity(
            memory in 0..i64::MAX, huge in 0..i64::MAX, kept in 0..i64::MAX, percent in 0.0_f32..100.0,
        ) {
            let machine = Machine {
                memory, storage: Some(memory), hugepages: BTreeMap::from([(2 << 20, huge)]), ..machine()
            };
            let mut reserved = reserved(&[("memory", &kept.to_string())]);
            reserved.storage = Some(Threshold::Percent(percent));
            let (resources, _) = resources(&machine, PODS, &reserved);
            for (name, text) in &resources.allocatable {
                let given = Quantity::parse(&text.0).unwrap();
                prop_assert!(given >= Quantity::ZERO);
                prop_assert!(given <= Quantity::parse(&resources.capacity[name].0).unwrap());
            }
        }
    }
}
