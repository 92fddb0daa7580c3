//! Whether a pod may use an image that is there: (policy, record, the pod's credentials) → yes, no, or only after a
//! pull of its own. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::image::keyring::{Credential, Source};

/// Secrets that one image remembers beside those of its pulls; with more, further ones are verified each time
/// (`writeRecordWhileMatchingLimit`).
const MOST_LEARNED: usize = 100;

/// What is known of an image that this node pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledRecord {
    /// When it last changed.
    pub updated: Timestamp,
    /// The image's id in the runtime.
    pub image_ref: String,
    /// Who may have it, by the name that it was pulled under.
    pub access: BTreeMap<String, Access>,
}

/// Who may have an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Pods with one of these secrets.
    pub secrets: Vec<SecretRecord>,
    /// Pods of one of these service accounts.
    pub accounts: Vec<AccountRecord>,
    /// Every pod of the node.
    pub everyone: bool,
}

/// A secret that an image was pulled with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRecord {
    /// UID.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Digest of the login that it held.
    pub credential_hash: String,
}

/// A service account that an image was pulled with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRecord {
    /// UID.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Passwords are short: their digests are not for logs.
impl std::fmt::Debug for SecretRecord {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SecretRecord({}/{}, {})", self.namespace, self.name, self.uid)
    }
}

impl SecretRecord {
    fn is_same_object(&self, other: &Self) -> bool {
        (&self.uid, &self.namespace, &self.name) == (&other.uid, &other.namespace, &other.name)
    }
}

impl Access {
    /// What a pull with this credential proves. One of the node, or none, lets everyone in.
    #[must_use]
    pub fn of(credential: Option<&Credential>) -> Self {
        let Some(credential) = credential else { return Self::of_everyone() };
        match (of_secret(credential), of_account(credential)) {
            (Some(secret), _) => Self { secrets: vec![secret], ..Self::default() },
            (None, Some(account)) => Self { accounts: vec![account], ..Self::default() },
            (None, None) => Self::of_everyone(),
        }
    }

    fn of_everyone() -> Self {
        Self { everyone: true, ..Self::default() }
    }
}

fn of_secret(credential: &Credential) -> Option<SecretRecord> {
    let Some(Source::Secret(secret)) = credential.source.clone() else { return None };
    let (uid, namespace, name) = (secret.uid, secret.namespace, secret.name);
    Some(SecretRecord { uid, namespace, name, credential_hash: credential.hash.clone() })
}

fn of_account(credential: &Credential) -> Option<AccountRecord> {
    let Some(Source::Account(account)) = credential.source.clone() else { return None };
    Some(AccountRecord { uid: account.uid, namespace: account.namespace, name: account.name })
}

/// What can be said before the pod's credentials are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// The pod may use it.
    Use,
    /// It must pull.
    Verify,
    /// It may if it has one of these.
    Compare(Access),
}

/// Decides by the policy and the image's record. `pulled_here`: there are signs that this node pulled it.
#[must_use]
pub fn first(policy: &Policy, bare: &str, record: Option<&PulledRecord>, pulled_here: bool) -> First {
    if !policy.asks(bare, pulled_here || record.is_some()) {
        return First::Use;
    }
    match record.and_then(|record| record.access.get(bare)) {
        Some(access) if access.everyone => First::Use,
        Some(access) if !access.secrets.is_empty() || !access.accounts.is_empty() => {
            First::Compare(access.clone())
        }
        _ => First::Verify,
    }
}

/// What a pod's credentials are to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// None of them was good for it.
    None,
    /// One was.
    Known,
    /// One is as good as a known one: the same login in another secret, or another login in the same secret, as
    /// after a change of passwords. It is to be remembered.
    Learned(SecretRecord),
}

/// Compares the pod's credentials with those that are known.
#[must_use]
pub fn compare(known: &Access, credentials: &[Credential]) -> Match {
    if credentials.iter().filter_map(of_account).any(|account| known.accounts.contains(&account)) {
        return Match::Known;
    }
    let room = known.secrets.len() < MOST_LEARNED;
    let mut found = Match::None;
    for secret in credentials.iter().filter_map(of_secret) {
        for known in &known.secrets {
            let same_login =
                !known.credential_hash.is_empty() && known.credential_hash == secret.credential_hash;
            match (same_login, known.is_same_object(&secret)) {
                (true, true) => return Match::Known,
                (true, false) if !room => return Match::Known,
                (false, true) if !room => {}
                (false, false) => {}
                (true, false) | (false, true) => found = Match::Learned(secret.clone()),
            }
        }
    }
    found
}

/// The record with what is new; none if there is nothing new. Without `access` only that the image was pulled is new.
#[must_use]
pub fn merged(
    known: Option<PulledRecord>,
    id: &str,
    bare: &str,
    access: Option<&Access>,
) -> Option<PulledRecord> {
    let is_new = known.is_none();
    let empty =
        || PulledRecord { updated: Timestamp::UNIX_EPOCH, image_ref: id.to_owned(), access: BTreeMap::new() };
    let mut record = known.unwrap_or_else(empty);
    let Some(access) = access else { return is_new.then_some(record) };
    let before = record.access.get(bare).cloned();
    let entry = record.access.entry(bare.to_owned()).or_default();
    if access.everyone || entry.everyone {
        *entry = Access { everyone: true, ..Access::default() };
    } else {
        for secret in &access.secrets {
            entry.secrets.retain(|known| !known.is_same_object(secret));
            entry.secrets.push(secret.clone());
        }
        let by_name =
            |secret: &SecretRecord| (secret.namespace.clone(), secret.name.clone(), secret.uid.clone());
        entry.secrets.sort_by_key(by_name);
        entry.accounts.extend(access.accounts.clone());
        entry.accounts.sort();
        entry.accounts.dedup();
    }
    (is_new || before.as_ref() != Some(entry)).then_some(record)
}
