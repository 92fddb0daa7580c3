//! The environment of a container, and what `$(NAME)` in its command means. Pure; what it is made from is gathered by
//! `gather`.
//!
//! Order and texts are those of `makeEnvironmentVariables` in `pkg/kubelet/kubelet_pods.go`: `envFrom`, of which a
//! later one wins; `env` in order, which wins over that; variables of Services last, where nothing shadows them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource, PodSpec};
use pinnace_cri::v1::KeyValue;

use crate::objects::{Data, Kind, Reference};
use crate::pod::field::{self, Facts, FieldError};

pub mod expand;
pub mod file;
pub(crate) mod gather;
pub mod services;

/// Most bytes of an environment, a command or its arguments. A message to a runtime may have 16 MiB, and what the
/// kernel takes is less; without a bound a few variables that double each other would fill the memory.
const MOST: usize = 16 << 20;

/// What an object that the container refers to turned out to be: there, not there, or not to be had, with the reason.
pub type Fetched = BTreeMap<Reference, Result<Option<Arc<Data>>, String>>;

/// What an environment is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The pod and its addresses.
    pub facts: Facts<'a>,
    /// Its spec.
    pub spec: &'a PodSpec,
    /// What the node has for pods: CPU in thousandths, all else in whole units.
    pub allocatable: &'a BTreeMap<String, i64>,
    /// Objects that the container refers to.
    pub objects: &'a Fetched,
    /// Files of the pod's volumes that the container refers to.
    pub files: &'a file::Files,
    /// Variables of Services.
    pub services: &'a BTreeMap<String, String>,
}

/// Why there is no environment. No value is ever in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// An object is missing, or could not be had.
    #[error("{0}")]
    Object(String),
    /// The object has no such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    Key {
        /// The key.
        key: String,
        /// The kind as the API has it.
        kind: &'static str,
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
    },
    /// A file is missing, could not be had, or lacks a key.
    #[error("{0}")]
    File(String),
    /// A field of the pod has no value.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Expansion makes it too large.
    #[error("{0} would be longer than {MOST} bytes")]
    TooLong(String),
    /// Expansion has put bytes into a command that are no text.
    #[error("{0} would not be UTF-8")]
    NotText(&'static str),
}

/// The variables of a container.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// By name: the place in the order, and the value.
    own: BTreeMap<String, (usize, Vec<u8>)>,
    services: BTreeMap<String, String>,
    next: usize,
    bytes: usize,
}

impl fmt::Debug for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.own.keys()).entries(self.services.keys()).finish()
    }
}

impl Environment {
    /// The value of a variable, for `subPathExpr` and the like.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let own = self.own.get(name).map(|(_, value)| value.as_slice());
        own.or_else(|| self.services.get(name).map(String::as_bytes))
    }

    /// `$(NAME)` in a command or in arguments, called `what` in errors.
    pub fn expand(&self, words: &[String], what: &'static str) -> Result<Vec<String>, EnvError> {
        let mut left = MOST;
        let mut expanded = Vec::with_capacity(words.len());
        for word in words {
            let word = self.expand_bytes(word, left).ok_or_else(|| EnvError::TooLong(what.to_owned()))?;
            left = left.saturating_sub(word.len());
            expanded.push(String::from_utf8(word).map_err(|_| EnvError::NotText(what))?);
        }
        Ok(expanded)
    }

    /// As the message to the runtime has it: those of Services that nothing shadows come last.
    #[must_use]
    pub fn into_variables(self) -> Vec<KeyValue> {
        let Self { own, services, .. } = self;
        let services: Vec<_> = services.into_iter().filter(|(name, _)| !own.contains_key(name)).collect();
        let mut ordered: Vec<_> = own.into_iter().collect();
        ordered.sort_unstable_by_key(|(_, (place, _))| *place);
        let own = ordered.into_iter().map(|(key, (_, value))| KeyValue { key, value });
        own.chain(services.into_iter().map(|(key, value)| KeyValue { key, value: value.into() })).collect()
    }

    fn expand_bytes(&self, text: &str, most: usize) -> Option<Vec<u8>> {
        let lookup = |name: &[u8]| self.get(std::str::from_utf8(name).ok()?);
        expand::expand(text.as_bytes(), lookup, most)
    }

    fn set(&mut self, name: String, value: Vec<u8>) -> Result<(), EnvError> {
        self.bytes = self.bytes.saturating_add(name.len()).saturating_add(value.len());
        if self.bytes > MOST {
            return Err(EnvError::TooLong("the environment".to_owned()));
        }
        self.next = self.next.saturating_add(1);
        self.own.insert(name, (self.next, value));
        Ok(())
    }
}

/// The environment, and what the pod's events should say of it.
pub fn assemble(container: &Container, sources: Sources<'_>) -> Result<(Environment, Vec<String>), EnvError> {
    let mut env = Environment { services: sources.services.clone(), ..Environment::default() };
    let mut complaints = Vec::new();
    for from in container.env_from.iter().flatten() {
        complaints.extend(add_all(&mut env, from, sources)?);
    }
    for variable in container.env.iter().flatten() {
        let Some(value) = value(&env, variable, container, sources)? else { continue };
        env.set(variable.name.clone(), value)?;
    }
    Ok((env, complaints))
}

/// All keys of an object; a complaint of those that cannot be names.
fn add_all(
    env: &mut Environment,
    from: &EnvFromSource,
    sources: Sources<'_>,
) -> Result<Option<String>, EnvError> {
    let Some((kind, name, optional)) = named(from) else { return Ok(None) };
    let reference = reference(kind, name, sources.facts);
    let Some(data) = object(&reference, optional, sources.objects)? else { return Ok(None) };
    let prefix = from.prefix.as_deref().unwrap_or_default();
    let mut skipped = Vec::new();
    for (key, value) in &data.values {
        let name = format!("{prefix}{key}");
        if is_name(&name) {
            env.set(name, value.bytes().to_vec())?;
        } else {
            skipped.push(name);
        }
    }
    let kind = if kind == Kind::ConfigMap { "configMap" } else { "secret" };
    Ok((!skipped.is_empty()).then(|| {
        format!(
            "Keys [{}] from the EnvFrom {kind} {}/{} were skipped since they are considered invalid environment variable names.",
            skipped.join(", "),
            reference.namespace,
            reference.name
        )
    }))
}

/// The object that an `envFrom` names, and whether it may be missing.
fn named(from: &EnvFromSource) -> Option<(Kind, &str, bool)> {
    if let Some(map) = &from.config_map_ref {
        return Some((Kind::ConfigMap, &map.name, map.optional.unwrap_or(false)));
    }
    from.secret_ref
        .as_ref()
        .map(|secret| (Kind::Secret, secret.name.as_str(), secret.optional.unwrap_or(false)))
}

/// Printable ASCII without `=` (`IsRelaxedEnvVarName` of `k8s.io/apimachinery/pkg/util/validation`).
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

/// The value of a variable; none if what it refers to is missing and may be.
fn value(
    env: &Environment,
    variable: &EnvVar,
    container: &Container,
    sources: Sources<'_>,
) -> Result<Option<Vec<u8>>, EnvError> {
    if let Some(text) = variable.value.as_deref().filter(|text| !text.is_empty()) {
        let expanded = env.expand_bytes(text, MOST);
        return expanded.map(Some).ok_or_else(|| EnvError::TooLong(format!("variable {}", variable.name)));
    }
    let Some(from) = &variable.value_from else { return Ok(Some(Vec::new())) };
    if let Some(selector) = &from.field_ref {
        return Ok(Some(field::of_pod(&selector.field_path, &sources.facts)?.into()));
    }
    if let Some(selector) = &from.resource_field_ref {
        let value = field::of_resource(selector, Some(container), sources.spec, sources.allocatable)?;
        return Ok(Some(value.into()));
    }
    if let Some(selector) = &from.file_key_ref {
        return file::of_key(selector, sources.files);
    }
    match keyed(from) {
        Some(key) => value_of_key(key, sources),
        None => Ok(Some(Vec::new())),
    }
}

/// A key of an object, and whether either may be missing.
#[derive(Clone, Copy)]
struct Keyed<'a> {
    kind: Kind,
    name: &'a str,
    key: &'a str,
    optional: bool,
}

fn keyed(from: &EnvVarSource) -> Option<Keyed<'_>> {
    if let Some(map) = &from.config_map_key_ref {
        let optional = map.optional.unwrap_or(false);
        return Some(Keyed { kind: Kind::ConfigMap, name: &map.name, key: &map.key, optional });
    }
    let secret = from.secret_key_ref.as_ref()?;
    let optional = secret.optional.unwrap_or(false);
    Some(Keyed { kind: Kind::Secret, name: &secret.name, key: &secret.key, optional })
}

fn value_of_key(keyed: Keyed<'_>, sources: Sources<'_>) -> Result<Option<Vec<u8>>, EnvError> {
    let Keyed { kind, name, key, optional } = keyed;
    let reference = reference(kind, name, sources.facts);
    let Some(data) = object(&reference, optional, sources.objects)? else { return Ok(None) };
    match data.values.get(key) {
        Some(value) => Ok(Some(value.bytes().to_vec())),
        None if optional => Ok(None),
        None => Err(EnvError::Key {
            key: key.to_owned(),
            kind: if kind == Kind::ConfigMap { "ConfigMap" } else { "Secret" },
            namespace: reference.namespace,
            name: reference.name,
        }),
    }
}

fn reference(kind: Kind, name: &str, facts: Facts<'_>) -> Reference {
    Reference { kind, namespace: facts.pod.namespace.clone(), name: name.to_owned() }
}

fn object<'a>(
    reference: &Reference,
    optional: bool,
    objects: &'a Fetched,
) -> Result<Option<&'a Arc<Data>>, EnvError> {
    match objects.get(reference) {
        Some(Ok(Some(data))) => Ok(Some(data)),
        Some(Err(error)) => Err(EnvError::Object(error.clone())),
        Some(Ok(None)) | None if optional => Ok(None),
        Some(Ok(None)) | None => Err(EnvError::Object(reference.not_found())),
    }
}

/// The objects that a container's environment refers to, each once.
#[must_use]
pub fn references(container: &Container, facts: Facts<'_>) -> Vec<Reference> {
    let whole = container.env_from.iter().flatten().filter_map(named).map(|(kind, name, _)| (kind, name));
    let variables = container.env.iter().flatten();
    let unset = variables.filter(|variable| variable.value.as_ref().is_none_or(String::is_empty));
    let keys = unset.filter_map(|variable| keyed(variable.value_from.as_ref()?));
    let mut all: Vec<Reference> = whole
        .chain(keys.map(|keyed| (keyed.kind, keyed.name)))
        .filter(|(_, name)| !name.is_empty())
        .map(|(kind, name)| reference(kind, name, facts))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
