//! Decides which file a name or a UID belongs to when several files claim it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pinnace_cri::id::PodUid;

use super::{Good, Presence, Record};
use crate::source::desired::{DesiredPod, Problem};

/// Who got what.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) pods: BTreeMap<PodUid, Arc<DesiredPod>>,
    pub(super) owners: BTreeMap<String, PathBuf>,
    pub(super) problems: Vec<Problem>,
}

/// Settles all claims: first those that were granted before, then the others by file name.
pub(super) fn settle(records: &BTreeMap<PathBuf, Record>, owners: &BTreeMap<String, PathBuf>) -> Claims {
    let usable = || {
        records.iter().filter_map(|(path, record)| match &record.good {
            Some(Good::Pod(pod)) => Some((path, record, pod)),
            Some(Good::Object(..)) | None => None,
        })
    };
    let owned = |path: &PathBuf, pod: &DesiredPod| owners.get(&pod.full_name()) == Some(path);
    let old = usable().filter(|(path, _, pod)| owned(path, pod));
    let new = usable().filter(|(path, _, pod)| !owned(path, pod));
    let mut claims = Claims::default();
    for (path, _, pod) in old.chain(new) {
        match claims.rival(pod) {
            None => {
                claims.owners.insert(pod.full_name(), path.clone());
                claims.pods.insert(pod.uid.clone(), Arc::clone(pod));
            }
            // The file was perhaps renamed: who waits for its rival to be gone has no problem yet.
            Some((_, rival)) if is_going(records, &rival) => {}
            Some((field, rival)) => {
                let what = if field == "metadata.uid" { pod.uid.to_string() } else { pod.full_name() };
                let reason = format!("{what} is already defined by {}", rival.display());
                claims.problems.push(Problem { file: path.clone(), field: Some(field.to_owned()), reason });
            }
        }
    }
    claims
}

impl Claims {
    /// The field by which the pod collides with one that was granted, and that one's file.
    fn rival(&self, pod: &DesiredPod) -> Option<(&'static str, PathBuf)> {
        if let Some(path) = self.owners.get(&pod.full_name()) {
            return Some(("metadata.name", path.clone()));
        }
        let other = self.pods.get(&pod.uid)?;
        Some(("metadata.uid", super::origin(other).to_owned()))
    }
}

fn is_going(records: &BTreeMap<PathBuf, Record>, path: &Path) -> bool {
    records.get(path).is_some_and(|record| matches!(record.presence, Presence::GoneSince(_)))
}
