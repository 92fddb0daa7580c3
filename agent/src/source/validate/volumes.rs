//! What may be wrong with volumes that a node without a cluster can have; other kinds are held by the gate.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume};

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
    let medium = volume.empty_dir.as_ref().and_then(|empty| empty.medium.as_deref());
    let known =
        medium.is_none_or(|medium| matches!(medium, "" | "Memory") || medium.starts_with("HugePages"));
    faults.add_if(!known, format!("{at}.emptyDir.medium"), "is no medium");
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
    files(at, volume, faults);
}

/// What is written into the volume.
fn files(at: &str, volume: &Volume, faults: &mut Faults) {
    if let Some(source) = &volume.config_map {
        let at = format!("{at}.configMap");
        faults.add_if(source.name.is_empty(), format!("{at}.name"), "is missing");
        items(&at, source.items.as_deref(), faults);
    }
    if let Some(source) = &volume.secret {
        let at = format!("{at}.secret");
        let unnamed = source.secret_name.as_ref().is_none_or(String::is_empty);
        faults.add_if(unnamed, format!("{at}.secretName"), "is missing");
        items(&at, source.items.as_deref(), faults);
    }
    if let Some(source) = &volume.downward_api {
        downward(&format!("{at}.downwardAPI"), source.items.as_deref(), faults);
    }
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    for (index, source) in sources.enumerate() {
        let at = format!("{at}.projected.sources[{index}]");
        if let Some(source) = &source.config_map {
            let at = format!("{at}.configMap");
            faults.add_if(source.name.is_empty(), format!("{at}.name"), "is missing");
            items(&at, source.items.as_deref(), faults);
        }
        if let Some(source) = &source.secret {
            let at = format!("{at}.secret");
            faults.add_if(source.name.is_empty(), format!("{at}.name"), "is missing");
            items(&at, source.items.as_deref(), faults);
        }
        if let Some(source) = &source.downward_api {
            downward(&format!("{at}.downwardAPI"), source.items.as_deref(), faults);
        }
    }
}

fn items(at: &str, items: Option<&[KeyToPath]>, faults: &mut Faults) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let at = format!("{at}.items[{index}]");
        faults.add_if(item.key.is_empty(), format!("{at}.key"), "is missing");
        file(&at, &item.path, item.mode, faults);
    }
}

fn downward(at: &str, items: Option<&[DownwardAPIVolumeFile]>, faults: &mut Faults) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let at = format!("{at}.items[{index}]");
        file(&at, &item.path, item.mode, faults);
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(_), Some(_)) => {
                faults.add(format!("{at}.resourceFieldRef"), "cannot be combined with fieldRef");
            }
            (None, None) => faults.add(format!("{at}.fieldRef"), "is missing"),
            (Some(field), None) => {
                let known = can_be_shown(&field.field_path);
                let what = format!("names {:?}, which a volume cannot show", field.field_path);
                faults.add_if(!known, format!("{at}.fieldRef.fieldPath"), what);
            }
            (None, Some(resource)) => {
                let unnamed = resource.container_name.as_ref().is_none_or(String::is_empty);
                faults.add_if(unnamed, format!("{at}.resourceFieldRef.containerName"), "is missing");
            }
        }
    }
}

/// Fields of a pod that hold still or can be written anew (`validVolumeDownwardAPIFieldPathExpressions` of
/// `pkg/apis/core/validation/validation.go`).
fn can_be_shown(field: &str) -> bool {
    let whole = ["name", "namespace", "uid", "labels", "annotations"];
    let of_key = |map: &str| field.strip_prefix(map).is_some_and(|key| key.starts_with("['"));
    field.strip_prefix("metadata.").is_some_and(|name| whole.contains(&name))
        || of_key("metadata.labels")
        || of_key("metadata.annotations")
}

fn file(at: &str, path: &str, mode: Option<i32>, faults: &mut Faults) {
    faults.add_if(path.is_empty(), format!("{at}.path"), "is missing");
    faults.check(format!("{at}.path"), inner_path(path));
    faults.add_if(path.starts_with(".."), format!("{at}.path"), "must not begin with '..'");
    let bad = mode.is_some_and(|mode| !(0..=0o777).contains(&mode));
    faults.add_if(bad, format!("{at}.mode"), "is not within 0 and 0777");
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
