//! What may be wrong with the two security contexts.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSecurityContext, SeccompProfile, SecurityContext};

use super::{Faults, volumes};
use crate::pod::security::sysctl;

/// Users and groups have 31 bits.
const MAX_ID: i64 = i32::MAX as i64;
/// Longest name of an AppArmor profile, in bytes: the kernel's longest path less one.
const MAX_PROFILE: usize = 4095;

pub(super) fn pod(context: &PodSecurityContext, faults: &mut Faults) {
    let at = "spec.securityContext";
    id(at, "runAsUser", context.run_as_user, faults);
    id(at, "runAsGroup", context.run_as_group, faults);
    id(at, "fsGroup", context.fs_group, faults);
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(at, &format!("supplementalGroups[{index}]"), Some(*group), faults);
    }
    let policy = context.supplemental_groups_policy.as_deref();
    faults.one_of(format!("{at}.supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    let policy = context.fs_group_change_policy.as_deref();
    faults.one_of(format!("{at}.fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    seccomp(at, context.seccomp_profile.as_ref(), faults);
    app_armor(at, context.app_armor_profile.as_ref(), faults);
    let mut names = BTreeSet::new();
    for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let field = format!("{at}.sysctls[{index}].name");
        faults.add_if(sysctl.name.is_empty(), field.as_str(), "is missing");
        let odd = !sysctl.name.is_empty() && !sysctl::is_name(&sysctl.name);
        faults.add_if(odd, field.as_str(), format!("is {:?}, no name of a sysctl", sysctl.name));
        faults.unique(&mut names, sysctl.name.as_str(), field, "sysctl");
    }
}

/// An open /proc is for users that are nobody on the host.
pub(super) fn proc_mount(at: &str, context: &SecurityContext, host_users: bool, faults: &mut Faults) {
    let open = context.proc_mount.as_deref() == Some("Unmasked");
    faults.add_if(
        open && host_users,
        format!("{at}.securityContext.procMount"),
        "Unmasked needs hostUsers: false",
    );
}

pub(super) fn container(at: &str, context: &SecurityContext, faults: &mut Faults) {
    id(at, "runAsUser", context.run_as_user, faults);
    id(at, "runAsGroup", context.run_as_group, faults);
    faults.one_of(format!("{at}.procMount"), context.proc_mount.as_deref(), &["Default", "Unmasked"]);
    seccomp(at, context.seccomp_profile.as_ref(), faults);
    app_armor(at, context.app_armor_profile.as_ref(), faults);
    let contained = context.allow_privilege_escalation == Some(false);
    let field = format!("{at}.allowPrivilegeEscalation");
    faults.add_if(
        contained && context.privileged == Some(true),
        field.as_str(),
        "cannot be false with privileged",
    );
    let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    let admin = added.into_iter().any(|name| matches!(name.as_str(), "SYS_ADMIN" | "CAP_SYS_ADMIN"));
    faults.add_if(contained && admin, field, "cannot be false with the capability SYS_ADMIN");
}

fn id(at: &str, name: &str, value: Option<i64>, faults: &mut Faults) {
    if let Some(value) = value.filter(|value| !(0..=MAX_ID).contains(value)) {
        faults.add(format!("{at}.{name}"), format!("is {value}, expected 0 to {MAX_ID}"));
    }
}

fn seccomp(at: &str, profile: Option<&SeccompProfile>, faults: &mut Faults) {
    let Some(profile) = profile else { return };
    let at = format!("{at}.seccompProfile");
    let kind = profile.type_.as_str();
    faults.one_of(format!("{at}.type"), Some(kind), &["RuntimeDefault", "Unconfined", "Localhost"]);
    match (kind, profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => faults.add(format!("{at}.localhostProfile"), "is missing"),
        ("Localhost", Some(path)) => {
            faults.check(format!("{at}.localhostProfile"), volumes::inner_path(path))
        }
        (_, Some(_)) => faults.add(format!("{at}.localhostProfile"), "is for type Localhost only"),
        (_, None) => {}
    }
}

fn app_armor(at: &str, profile: Option<&AppArmorProfile>, faults: &mut Faults) {
    let Some(profile) = profile else { return };
    let at = format!("{at}.appArmorProfile");
    let kind = profile.type_.as_str();
    faults.one_of(format!("{at}.type"), Some(kind), &["RuntimeDefault", "Unconfined", "Localhost"]);
    let field = format!("{at}.localhostProfile");
    match (kind, profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => faults.add(field, "is missing"),
        ("Localhost", Some(name)) => {
            faults.add_if(name.trim() != name, field.as_str(), "begins or ends with blanks");
            faults.add_if(name.len() > MAX_PROFILE, field, format!("is longer than {MAX_PROFILE} bytes"));
        }
        (_, Some(_)) => faults.add(field, "is for type Localhost only"),
        (_, None) => {}
    }
}
