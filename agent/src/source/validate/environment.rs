//! What may be wrong with the environment of a container.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector,
    ResourceFieldSelector,
};

use super::volumes::inner_path;
use super::{Faults, names};
use crate::quantity::Quantity;

/// Fields of a pod that a variable can have, beside keys of labels and annotations.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Divisors of an amount of CPU.
const CPU_DIVISORS: [&str; 2] = ["1m", "1"];
/// Divisors of any other amount.
const DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

pub(super) fn environment(at: &str, item: &Container, faults: &mut Faults) {
    for (index, variable) in item.env.iter().flatten().enumerate() {
        self::variable(&format!("{at}.env[{index}]"), variable, faults);
    }
    for (index, source) in item.env_from.iter().flatten().enumerate() {
        all_of(&format!("{at}.envFrom[{index}]"), source, faults);
    }
}

fn variable(at: &str, variable: &EnvVar, faults: &mut Faults) {
    faults.check(format!("{at}.name"), names::variable(&variable.name));
    let Some(from) = &variable.value_from else { return };
    let both = variable.value.as_ref().is_some_and(|value| !value.is_empty());
    faults.add_if(both, format!("{at}.valueFrom"), "cannot be combined with a value");
    let sources = [
        from.config_map_key_ref.is_some(),
        from.field_ref.is_some(),
        from.file_key_ref.is_some(),
        from.resource_field_ref.is_some(),
        from.secret_key_ref.is_some(),
    ];
    let named = sources.into_iter().filter(|named| *named).count();
    faults.add_if(named != 1, format!("{at}.valueFrom"), format!("names {named} sources, expected one"));
    value_from(&format!("{at}.valueFrom"), from, faults);
}

fn value_from(at: &str, from: &EnvVarSource, faults: &mut Faults) {
    if let Some(selector) = &from.field_ref {
        field(&format!("{at}.fieldRef"), selector, faults);
    }
    if let Some(selector) = &from.resource_field_ref {
        resource(&format!("{at}.resourceFieldRef"), selector, faults);
    }
    if let Some(selector) = &from.file_key_ref {
        file(&format!("{at}.fileKeyRef"), selector, faults);
    }
    let map = from.config_map_key_ref.as_ref();
    let secret = from.secret_key_ref.as_ref();
    let keys = [
        ("configMapKeyRef", map.map(|map| (&map.name, &map.key))),
        ("secretKeyRef", secret.map(|secret| (&secret.name, &secret.key))),
    ];
    for (kind, (name, key)) in keys.into_iter().filter_map(|(kind, named)| Some((kind, named?))) {
        faults.check(format!("{at}.{kind}.name"), object(name));
        faults.check(format!("{at}.{kind}.key"), names::key(key));
    }
}

/// Whether the volume is one that may be read from is seen when it is.
fn file(at: &str, selector: &FileKeySelector, faults: &mut Faults) {
    let FileKeySelector { key, optional: _, path, volume_name } = selector;
    faults.check(format!("{at}.volumeName"), names::label(volume_name));
    faults.add_if(path.is_empty(), format!("{at}.path"), "is missing");
    faults.check(format!("{at}.path"), inner_path(path));
    faults.check(format!("{at}.key"), names::variable(key));
}

fn field(at: &str, selector: &ObjectFieldSelector, faults: &mut Faults) {
    let path = selector.field_path.as_str();
    let key = ["metadata.labels['", "metadata.annotations['"]
        .iter()
        .find_map(|start| path.strip_prefix(start)?.strip_suffix("']"));
    let result = match key {
        Some(key) => names::qualified(&key.to_lowercase()),
        None if FIELDS.contains(&path) => Ok(()),
        None => Err(format!("is {path:?}, which no variable can have")),
    };
    faults.check(format!("{at}.fieldPath"), result);
    faults.one_of(format!("{at}.apiVersion"), selector.api_version.as_deref(), &["v1"]);
}

fn resource(at: &str, selector: &ResourceFieldSelector, faults: &mut Faults) {
    let name = selector.resource.as_str();
    let list = name.strip_prefix("limits.").or_else(|| name.strip_prefix("requests."));
    let Some(resource) = list.filter(|resource| is_told(resource)) else {
        return faults.add(format!("{at}.resource"), format!("is {name:?}, which no variable can have"));
    };
    let Some(divisor) = &selector.divisor else { return };
    let divisors: &[&str] = if resource == "cpu" { &CPU_DIVISORS } else { &DIVISORS };
    let given = Quantity::parse(&divisor.0).ok();
    let is_one = |one: &str| Quantity::parse(one).ok() == given;
    let good = given.is_some() && (given == Some(Quantity::ZERO) || divisors.iter().any(|one| is_one(one)));
    let reason = format!("is {:?}, expected one of {}", divisor.0, divisors.join(", "));
    faults.add_if(!good, format!("{at}.divisor"), reason);
}

fn is_told(resource: &str) -> bool {
    ["cpu", "memory", "ephemeral-storage"].contains(&resource) || resource.starts_with("hugepages-")
}

fn all_of(at: &str, source: &EnvFromSource, faults: &mut Faults) {
    if let Some(prefix) = source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
        faults.check(format!("{at}.prefix"), names::variable(prefix));
    }
    let objects = [
        ("configMapRef", source.config_map_ref.as_ref().map(|map| &map.name)),
        ("secretRef", source.secret_ref.as_ref().map(|secret| &secret.name)),
    ];
    let named = objects.iter().filter(|(_, name)| name.is_some()).count();
    faults.add_if(named != 1, at, format!("names {named} sources, expected one"));
    for (kind, name) in objects.into_iter().filter_map(|(kind, name)| Some((kind, name?))) {
        faults.check(format!("{at}.{kind}.name"), object(name));
    }
}

fn object(name: &str) -> Result<(), String> {
    if name.is_empty() { Err("is missing".to_owned()) } else { names::subdomain(name) }
}
