//! How far pulls are, where the runtime tells: containerd's content service. Owns the list of pulls under way; each is
//! watched as long as its future is polled, looking every five seconds.
//!
//! A pull of which nothing has come for a minute is given up, since a registry that went silent may stay so for ever
//! and the next try goes on from what is there. Where nobody tells, or nothing is being written (a layer may be
//! unpacked), a pull has half an hour.

mod stall;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pinnace_cri::content::{Content, ContentError, Ingest};
use serde_json::Value;
use tokio::time::Instant;

use super::name::Name;
use stall::{State, Watch};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(5);
/// Blobs that may be manifests are no larger.
const MAX_MANIFEST: u64 = 512 << 10;
/// Manifests that are read for one pull: those of some platforms and some tags.
const MOST_MANIFESTS: usize = 16;

/// The pulls under way. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Progress {
    content: Option<Content>,
    pulls: Arc<Mutex<Pulls>>,
}

#[derive(Debug, Default)]
struct Pulls {
    next: u64,
    under_way: BTreeMap<u64, (String, String)>,
}

/// A pull under way; dropping it takes it off the list.
#[derive(Debug)]
struct Listed {
    pulls: Arc<Mutex<Pulls>>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.pulls).under_way.remove(&self.number);
    }
}

impl Listed {
    fn say(&self, text: String) {
        if let Some(listed) = lock(&self.pulls).under_way.get_mut(&self.number) {
            listed.1 = text;
        }
    }
}

fn lock(pulls: &Mutex<Pulls>) -> MutexGuard<'_, Pulls> {
    pulls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    /// Of this runtime; without a service to ask, nothing is known.
    #[must_use]
    pub fn new(content: Option<Content>) -> Self {
        Self { content, pulls: Arc::default() }
    }

    /// How far the pull of an image is, for people; none if it is not being pulled.
    #[must_use]
    pub fn of(&self, asked: &str) -> Option<String> {
        let pulls = lock(&self.pulls);
        pulls.under_way.values().find(|(image, _)| image == asked).map(|(_, text)| text.clone())
    }

    /// Watches a pull; ends only when it is to be given up, with the reason. Cancel-safe: nothing of it stays.
    pub async fn watch(&self, name: &Name) -> String {
        let listed = self.list(&name.asked);
        let mut watch = Watch::new(Instant::now());
        loop {
            let looked = self.look(name, &watch).await;
            let state = match looked {
                Ok((ingests, ours)) => watch.look(Instant::now(), &ingests, &ours),
                Err(_) => watch.look_failed(Instant::now()),
            };
            match state {
                State::Going(text) => listed.say(text),
                State::GiveUp(why) => return why,
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    fn list(&self, image: &str) -> Listed {
        let mut pulls = lock(&self.pulls);
        let number = pulls.next;
        pulls.next = number.wrapping_add(1);
        pulls.under_way.insert(number, (image.to_owned(), "the pull has begun".to_owned()));
        Listed { pulls: Arc::clone(&self.pulls), number }
    }

    /// What is being written, and the digests that surely are this pull's.
    async fn look(
        &self,
        name: &Name,
        watch: &Watch,
    ) -> Result<(Vec<Ingest>, BTreeSet<String>), ContentError> {
        let Some(content) = &self.content else { return Err(ContentError::NotOffered) };
        let ingests = content.ingests().await?;
        // Only what stands still needs to be told from others'.
        if !watch.has_doubts(&ingests) {
            return Ok((ingests, BTreeSet::new()));
        }
        let ours = children(content, name).await.unwrap_or_default();
        Ok((ingests, ours))
    }
}

/// Digests that the manifests of the image's repository name.
async fn children(content: &Content, name: &Name) -> Result<BTreeSet<String>, ContentError> {
    let repository = name.repository.split_once('/').map_or("", |(_, path)| path);
    let mut blobs = content.blobs(host(name.registry()), repository).await?;
    blobs.retain(|blob| blob.size <= MAX_MANIFEST);
    let mut found = BTreeSet::new();
    for blob in blobs.iter().take(MOST_MANIFESTS) {
        let bytes = content.read(&blob.digest).await?;
        found.extend(digests(&bytes));
    }
    Ok(found)
}

/// A registry without its port, as containerd labels what is from it.
fn host(registry: &str) -> &str {
    match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => registry.split(':').next().unwrap_or(registry),
    }
}

/// Digests in a manifest or an index.
fn digests(manifest: &[u8]) -> Vec<String> {
    let Ok(manifest) = serde_json::from_slice::<Value>(manifest) else { return Vec::new() };
    let lists = ["layers", "manifests"].map(|list| manifest.get(list).and_then(Value::as_array));
    let entries = lists.into_iter().flatten().flatten().chain(manifest.get("config"));
    entries.filter_map(|entry| entry.get("digest")?.as_str().map(ToOwned::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_its_layers_and_its_configuration() {
        let manifest = br#"{"config": {"digest": "sha256:c"}, "layers": [{"digest": "sha256:a"}, {"digest": "sha256:b"}, {}]}"#;
        assert_eq!(digests(manifest), ["sha256:a", "sha256:b", "sha256:c"]);
        assert_eq!(digests(br#"{"manifests": [{"digest": "sha256:m"}]}"#), ["sha256:m"]);
        assert!(digests(b"[]").is_empty() && digests(b"\x1f\x8b").is_empty());
    }

    #[test]
    fn hosts_have_no_port() {
        assert_eq!(["a.x:5000", "a.x", "[::1]:5000"].map(host), ["a.x", "a.x", "::1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn b54_without_a_count_of_bytes_a_pull_has_more_than_ten_minutes() {
        let progress = Progress::new(None);
        let name = Name::parse("reg.x/a").unwrap();
        let began = Instant::now();
        let watched = progress.watch(&name);
        tokio::pin!(watched);
        let early = tokio::time::timeout(Duration::from_secs(600), &mut watched).await;
        assert!(early.is_err());
        let said = progress.of("reg.x/a:latest").unwrap();
        assert!(said.contains("not known"), "{said}");
        let why = watched.await;
        assert!(began.elapsed() >= Duration::from_secs(1800) && why.contains("30 min"), "{why}");
        assert_eq!(progress.of("reg.x/a:latest"), None);
    }
}
