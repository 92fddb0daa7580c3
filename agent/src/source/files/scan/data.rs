//! Decides which file a ConfigMap or a Secret is from when several have one of its name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Good, Record};
use crate::objects::Reference;
use crate::objects::manifests::Found;
use crate::source::desired::Problem;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) found: Found,
    pub(super) owners: BTreeMap<Reference, PathBuf>,
    pub(super) problems: Vec<Problem>,
}

/// Settles all: first those that were there before, then the others by file name.
pub(super) fn settle(records: &BTreeMap<PathBuf, Record>, before: &Data) -> Data {
    let objects = || {
        records.iter().filter_map(|(path, record)| match &record.good {
            Some(Good::Object(reference, data)) => Some((path, reference, data)),
            Some(Good::Pod(_)) | None => None,
        })
    };
    let owned = |path: &PathBuf, reference: &Reference| before.owners.get(reference) == Some(path);
    let old = objects().filter(|(path, reference, _)| owned(path, reference));
    let new = objects().filter(|(path, reference, _)| !owned(path, reference));
    let (mut found, mut owners, mut problems) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (path, reference, data) in old.chain(new) {
        if let Some(rival) = owners.get(reference) {
            let rival: &PathBuf = rival;
            let what = format!("{} {}/{}", reference.kind.word(), reference.namespace, reference.name);
            let reason = format!("{what} is already defined by {}", rival.display());
            let field = Some("metadata.name".to_owned());
            problems.push(Problem { file: path.clone(), field, reason });
        } else {
            owners.insert(reference.clone(), path.clone());
            found.insert(reference.clone(), Arc::clone(data));
        }
    }
    let found = if found == *before.found { Arc::clone(&before.found) } else { Arc::new(found) };
    Data { found, owners, problems }
}
