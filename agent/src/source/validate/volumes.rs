//! What may be wrong with volumes that a node without a cluster can have; other kinds are held by the gate.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;

use super::{Faults, names};
use crate::quantity::Quantity;
use crate::source::gate;

/// Checks the volumes and returns their names.
pub(super) fn volumes<'a>(volumes: &'a [Volume], faults: &mut Faults) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let at = format!("spec.volumes[{index}]");
        if volume.name.is_empty() {
            faults.add(format!("{at}.name"), "is missing");
        } else {
            faults.check(format!("{at}.name"), names::label(&volume.name));
            faults.unique(&mut seen, volume.name.as_str(), format!("{at}.name"), "volume name");
        }
        let kinds = gate::volume_kinds(volume);
        faults.add_if(kinds > 1, at.as_str(), format!("is of {kinds} kinds, expected one"));
        kind(&at, volume, faults);
    }
    seen
}

fn kind(at: &str, volume: &Volume, faults: &mut Faults) {
    if let Some(host_path) = &volume.host_path {
        let at = format!("{at}.hostPath");
        faults.add_if(host_path.path.is_empty(), format!("{at}.path"), "is missing");
        let climbs = host_path.path.split('/').any(|part| part == "..");
        faults.add_if(climbs, format!("{at}.path"), "must not contain '..'");
        let kinds =
            ["DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
        let kind = host_path.type_.as_deref().filter(|kind| !kind.is_empty());
        faults.one_of(format!("{at}.type"), kind, &kinds);
    }
    if let Some(limit) = volume.empty_dir.as_ref().and_then(|empty| empty.size_limit.as_ref()) {
        let bad = Quantity::parse(&limit.0).map_or(true, |size| size < Quantity::ZERO);
        faults.add_if(bad, format!("{at}.emptyDir.sizeLimit"), "is not a quantity of at least 0");
    }
    let modes = [
        ("secret", volume.secret.as_ref().and_then(|source| source.default_mode)),
        ("configMap", volume.config_map.as_ref().and_then(|source| source.default_mode)),
        ("downwardAPI", volume.downward_api.as_ref().and_then(|source| source.default_mode)),
        ("projected", volume.projected.as_ref().and_then(|source| source.default_mode)),
    ];
    for (kind, mode) in modes {
        let bad = mode.is_some_and(|mode| !(0..=0o777).contains(&mode));
        faults.add_if(bad, format!("{at}.{kind}.defaultMode"), "is not within 0 and 0777");
    }
}

/// A path below some directory: relative and never upwards.
pub(super) fn inner_path(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err("must be a relative path".to_owned());
    }
    if path.split('/').any(|part| part == "..") {
        return Err("must not contain '..'".to_owned());
    }
    Ok(())
}
