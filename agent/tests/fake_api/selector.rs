//! Field and label selectors, as far as kubelets and tests use them.

use serde_json::Value;

use super::reading::text;
use super::status::Failure;

/// Requirements that all must hold.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    fields: Vec<(String, String, bool)>,
    labels: Vec<(String, String, bool)>,
}

/// Fields that can be selected by, of any of the known kinds.
const FIELDS: [&str; 11] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
    "involvedObject.uid",
    "involvedObject.name",
    "reason",
];

impl Selector {
    pub fn parse(fields: &str, labels: &str) -> Result<Self, Failure> {
        let fields = requirements(fields);
        if let Some((field, _, _)) = fields.iter().find(|(field, _, _)| !FIELDS.contains(&field.as_str())) {
            return Err(Failure::bad_request(format!("field label not supported: {field}")));
        }
        Ok(Self { fields, labels: requirements(labels) })
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.labels.is_empty()
    }

    /// The value that field `name` must have.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _, equal)| field == name && *equal);
        found.map(|(_, value, _)| value.as_str())
    }

    pub fn matches(&self, object: &Value) -> bool {
        let field = |name: &str| text(object, &format!("/{}", name.replace('.', "/"))).to_owned();
        let label = |name: &str| object["metadata"]["labels"][name].as_str().map(str::to_owned);
        self.fields.iter().all(|(name, value, equal)| (field(name) == *value) == *equal)
            && self.labels.iter().all(|(name, value, equal)| (label(name).as_ref() == Some(value)) == *equal)
    }
}

/// `a=b,c==d,e!=f`: name, value, and whether they must be equal.
fn requirements(given: &str) -> Vec<(String, String, bool)> {
    let parts = given.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.filter_map(requirement).collect()
}

fn requirement(part: &str) -> Option<(String, String, bool)> {
    let (name, value, equal) = if let Some((name, value)) = part.split_once("!=") {
        (name, value, false)
    } else if let Some((name, value)) = part.split_once("==") {
        (name, value, true)
    } else {
        let (name, value) = part.split_once('=')?;
        (name, value, true)
    };
    Some((name.trim().to_owned(), value.trim().to_owned(), equal))
}
