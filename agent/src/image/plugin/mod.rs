//! Programs that know credentials: the kubelet's exec credential providers. Owns what they answered, as long as they
//! allow; woken by look-ups; starts one program at a time for one image.
//!
//! What a program prints is credentials: nothing of it reaches a log, an error or an event.

pub mod account;
pub mod attributes;
pub mod config;
mod exec;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::keyring::address::Address;
use super::keyring::{Credential, Keyring, Login, Source};
use crate::chain::Chain;
use account::{Asker, Identity, NoIdentity, Owner, Tokens};
use config::Provider;
use wire::Scope;

/// The programs, in the order of the configuration. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Plugins(Arc<Vec<Plugin>>);

#[derive(Debug)]
struct Plugin {
    provider: Provider,
    program: PathBuf,
    tokens: Tokens,
    cache: Mutex<BTreeMap<Key, Kept>>,
    turns: Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

/// What an answer is for, and whose it is; the node's own has no owner.
type Key = (String, Option<Owner>);

#[derive(Debug)]
struct Kept {
    keyring: Arc<Keyring>,
    until: Instant,
}

/// What an answer is kept under if it is for every image. No image is called so.
const EVERY_IMAGE: &str = "<global>";

impl Plugins {
    /// These providers, whose programs are in one directory.
    #[must_use]
    pub fn new(providers: Vec<Provider>, programs: &std::path::Path) -> Self {
        let plugin = |provider: Provider| Plugin {
            program: programs.join(&provider.name),
            provider,
            tokens: Tokens::default(),
            cache: Mutex::default(),
            turns: Mutex::default(),
        };
        Self(Arc::new(providers.into_iter().map(plugin).collect()))
    }

    /// What the programs have for a repository and a pod. One that fails is told in the log, and the pull goes on without.
    pub async fn lookup(&self, repository: &str, asker: Asker<'_>) -> Vec<Credential> {
        let mut found = Vec::new();
        for plugin in self.0.iter().filter(|plugin| plugin.provider.is_for(repository)) {
            found.extend(plugin.keyring(repository, asker).await.lookup(repository));
        }
        found
    }
}

impl Plugin {
    async fn keyring(&self, repository: &str, asker: Asker<'_>) -> Arc<Keyring> {
        match self.identity(asker).await {
            Ok(identity) => self.keyring_for(repository, identity).await,
            Err(why) if why.is_meant() => {
                let (provider, pod) = (&self.provider.name, &asker.pod.name);
                tracing::debug!(provider, pod, %why, "a provider of credentials is not for a pod");
                Arc::default()
            }
            Err(error) => {
                let (provider, pod, error) = (&self.provider.name, &asker.pod.name, Chain(&error));
                tracing::error!(provider, pod, %error, "failed to learn whose credentials to ask a provider for");
                Arc::default()
            }
        }
    }

    async fn identity(&self, asker: Asker<'_>) -> Result<Option<Identity>, NoIdentity> {
        match &self.provider.token {
            Some(attributes) => self.tokens.identity(attributes, asker).await,
            None => Ok(None),
        }
    }

    async fn keyring_for(&self, repository: &str, identity: Option<Identity>) -> Arc<Keyring> {
        let attributes = self.provider.token.as_ref();
        let owner = identity.as_ref().zip(attributes).map(|(pod, attributes)| pod.owner(attributes.cache));
        let key = (repository.to_owned(), owner);
        if let Some(known) = self.kept(&key) {
            return known;
        }
        let turn = self.turn(&key);
        let _turn = turn.lock().await;
        // Another pod may have asked in the meantime.
        if let Some(known) = self.kept(&key) {
            return known;
        }
        let asked = exec::ask(&self.provider, &self.program, repository, identity.as_ref()).await;
        match asked {
            Ok(answer) => self.keep(key, identity.map(|pod| Source::Account(pod.account)), answer),
            Err(error) => {
                let (provider, error) = (&self.provider.name, Chain(&error));
                tracing::error!(provider, repository, %error, "failed to get credentials from a provider");
                Arc::default()
            }
        }
    }

    /// The turn of whoever asks for the same. Those that nobody holds any more are forgotten.
    fn turn(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.turns);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(key.clone()).or_default())
    }

    fn kept(&self, (repository, owner): &Key) -> Option<Arc<Keyring>> {
        let now = Instant::now();
        let mut cache = lock(&self.cache);
        cache.retain(|_, kept| kept.until > now);
        let keys = [repository, registry(repository), EVERY_IMAGE];
        let mut found = keys.iter().filter_map(|key| cache.get(&((*key).to_owned(), owner.clone())));
        found.next().map(|kept| Arc::clone(&kept.keyring))
    }

    fn keep(&self, key: Key, source: Option<Source>, answer: wire::Answer) -> Arc<Keyring> {
        let logins = answer.logins.into_iter().map(|(address, username, password)| {
            (address, Login { username, password, email: String::new() })
        });
        let mut keyring = Keyring::default();
        keyring.add(logins, source.as_ref());
        let keyring = Arc::new(keyring);
        let length = answer.kept_for.unwrap_or(self.provider.kept_for);
        let until = Instant::now().checked_add(length).filter(|_| !length.is_zero());
        if let Some(until) = until {
            let (repository, owner) = key;
            let base = match answer.scope {
                Scope::Image => repository.as_str(),
                Scope::Registry => registry(&repository),
                Scope::Global => EVERY_IMAGE,
            };
            let kept = Kept { keyring: Arc::clone(&keyring), until };
            lock(&self.cache).insert((base.to_owned(), owner), kept);
        }
        keyring
    }
}

impl Provider {
    fn is_for(&self, repository: &str) -> bool {
        let Some(target) = Address::of_image(repository) else { return false };
        self.images.iter().any(|pattern| pattern.covers(&target))
    }
}

fn registry(repository: &str) -> &str {
    repository.split('/').next().unwrap_or(repository)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longest that a program may take (`pkg/credentialprovider/plugin`).
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
