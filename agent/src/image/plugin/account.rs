//! For whom a program is asked: the pod's service account, with a token that is bound to the pod. Asks the API server;
//! owns the tokens while they are good.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pinnace_cri::id::PodUid;
use sha2::{Digest, Sha256};

use super::attributes::{Cache, TokenAttributes};
use crate::clock::Now;
use crate::disk::contents::Opaque;
use crate::image::keyring::{ObjectName, hex};
use crate::objects::{FetchError, Objects};
use crate::source::desired::{DesiredPod, Origin};
use crate::volume::token::{Need, Token};

/// A pod that wants an image, and where its service account is found.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The pod.
    pub pod: &'a DesiredPod,
    /// The API server's objects.
    pub objects: &'a Objects,
    /// The time.
    pub now: &'a Now,
}

/// What a program is told of a pod. Its token is never shown.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) account: ObjectName,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) token: Opaque,
}

/// Whose an answer is. An answer that is kept is for the same owner and nobody else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    account: ObjectName,
    annotations: BTreeMap<String, String>,
    /// Of the token, if the answer is no better than it.
    token: Option<String>,
}

impl Identity {
    pub(super) fn owner(&self, cache: Cache) -> Owner {
        let (account, annotations) = (self.account.clone(), self.annotations.clone());
        let token = (cache == Cache::Token).then(|| hex(&Sha256::digest(self.token.bytes())));
        Owner { account, annotations, token }
    }
}

/// Why a program is not asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoIdentity {
    #[error("the pod has no service account")]
    Nobody,
    #[error("required annotation {0} not found")]
    Annotation(String),
    #[error("failed to get service account {0}")]
    Account(String, #[source] FetchError),
    #[error("serviceaccount {0:?} not found")]
    Absent(String),
    #[error("failed to get a token of service account {0}")]
    Token(String, #[source] FetchError),
}

impl NoIdentity {
    /// That a program is not for this pod is its configuration's will: an annotation may be how accounts opt in.
    pub(super) fn is_meant(&self) -> bool {
        matches!(self, Self::Nobody | Self::Annotation(_))
    }
}

/// Tokens by pod and by the UID of its account.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<BTreeMap<(PodUid, String), Token>>);

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(PodUid, String), Token>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the program is to know of the pod; none for a pod without a service account, where it does without.
    pub(super) async fn identity(
        &self,
        attributes: &TokenAttributes,
        asker: Asker<'_>,
    ) -> Result<Option<Identity>, NoIdentity> {
        let pod = asker.pod;
        // A manifest can name none, and an API server would not know its pod.
        let spec = pod.pod.spec.as_ref().filter(|_| pod.origin == Origin::Api);
        let named = spec.and_then(|spec| spec.service_account_name.as_deref());
        let Some(name) = named.filter(|name| !name.is_empty()) else {
            return if attributes.required { Err(NoIdentity::Nobody) } else { Ok(None) };
        };
        let full = || format!("{}/{name}", pod.namespace);
        let failed = |error| NoIdentity::Account(full(), error);
        let found = asker.objects.fetch().map_err(failed)?.account(&pod.namespace, name).await;
        let account = found.map_err(failed)?.ok_or_else(|| NoIdentity::Absent(name.to_owned()))?;
        let annotations = attributes.annotations(&account.annotations).map_err(NoIdentity::Annotation)?;
        let token = self.token(attributes, &account.uid, asker).await;
        let token = token.map_err(|error| NoIdentity::Token(full(), error))?;
        let account =
            ObjectName { uid: account.uid, namespace: pod.namespace.clone(), name: name.to_owned() };
        Ok(Some(Identity { account, annotations, token }))
    }

    /// One that is there while it is good, else a new one.
    async fn token(
        &self,
        attributes: &TokenAttributes,
        account: &str,
        asker: Asker<'_>,
    ) -> Result<Opaque, FetchError> {
        let is_good = |token: &Token| matches!(token.need(asker.now, Duration::ZERO), Need::Nothing(_));
        let key = (asker.pod.uid.clone(), account.to_owned());
        {
            let mut tokens = self.lock();
            tokens.retain(|_, token| is_good(token));
            if let Some(known) = tokens.get(&key) {
                return Ok(known.bytes.clone());
            }
        }
        let asked = asker.objects.fetch()?.account_token(asker.pod, account, &attributes.audience).await;
        let (bytes, seconds) = asked?;
        self.lock().insert(key, Token::received(bytes.clone(), seconds, asker.now));
        Ok(bytes)
    }
}
