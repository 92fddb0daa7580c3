//! Credentials for registries, and which of them an image is pulled with. Pure.
//!
//! A credential is kept under an address, and goes to what that address names and nowhere else: labels of the host one
//! by one, the port exactly, the path as a beginning. All that match are tried, longer addresses first.

pub mod address;
pub mod decode;
pub mod node;
pub mod secrets;

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::image::name::{DEFAULT_REGISTRY, FORMER_REGISTRY};
use address::Address;

/// Who one is at a registry. Never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
    /// Without a use today, and yet part of a credential's hash.
    pub email: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Login(..)")
    }
}

/// What a credential is from, where it is not the node's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A Secret that the pod names.
    Secret(ObjectName),
    /// A provider, which gave it to the pod's service account.
    Account(ObjectName),
}

/// A Secret or a service account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// UID; empty where it is no object of an API server.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A login with what is remembered of it once it was good for a pull.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The login.
    pub login: Login,
    /// SHA-256 of the login in hexadecimal, as the kubelet computes it.
    pub hash: String,
    /// Where it is from; none if it is the node's, so that every pod of the node may use what it gave.
    pub source: Option<Source>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credential").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Credential {
    /// A login of this source.
    #[must_use]
    pub fn new(login: Login, source: Option<Source>) -> Self {
        Self { hash: hash(&login), login, source }
    }
}

/// Credentials by address.
#[derive(Clone, Default)]
pub struct Keyring {
    by_address: BTreeMap<String, (Address, Vec<Credential>)>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Keyring of {}", self.by_address.len())
    }
}

impl Keyring {
    /// Adds logins by the addresses that they were found under. What is no address is left out.
    pub fn add(&mut self, logins: impl IntoIterator<Item = (String, Login)>, source: Option<&Source>) {
        for (written, login) in logins {
            let Some(address) = Address::of_key(&written) else { continue };
            let known = self.by_address.entry(address.to_string()).or_insert_with(|| (address, Vec::new()));
            known.1.push(Credential::new(login, source.cloned()));
        }
    }

    /// What a repository, with its registry named, is to be pulled with: each is tried in turn.
    #[must_use]
    pub fn lookup(&self, repository: &str) -> Vec<Credential> {
        let Some(target) = Address::of_image(repository) else { return Vec::new() };
        let matching = self.by_address.values().rev().filter(|(address, _)| address.covers(&target));
        let found: Vec<Credential> = matching.flat_map(|(_, credentials)| credentials.clone()).collect();
        if !found.is_empty() || target.host() != DEFAULT_REGISTRY {
            return found;
        }
        // The default registry's own clients have ever kept its logins under its former name.
        self.by_address.get(FORMER_REGISTRY).map(|(_, credentials)| credentials.clone()).unwrap_or_default()
    }
}

/// The digest by which the kubelet's records know a credential: of the JSON that its `AuthConfig` makes.
fn hash(login: &Login) -> String {
    let mut json = String::from("{");
    for (key, value) in
        [("username", &login.username), ("password", &login.password), ("email", &login.email)]
    {
        if !value.is_empty() {
            let comma = if json.len() > 1 { "," } else { "" };
            json.push_str(comma);
            json.push_str(&format!("\"{key}\":"));
            push_go_string(value, &mut json);
        }
    }
    json.push('}');
    hex(&Sha256::digest(json.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A JSON string as `encoding/json` of Go writes it, which also escapes what HTML would take for markup.
fn push_go_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
