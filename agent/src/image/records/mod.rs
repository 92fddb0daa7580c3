//! Which images this node pulled, and with what: so that an image that one pod was let in to with a secret is not
//! given to another that has none (KEP-2535). Owns `<root>/image_manager/`; woken by look-ups and pulls.
//!
//! Names and shape of the files are the kubelet's (`pkg/kubelet/images/pullmanager`), so that either takes over from the
//! other. An intent is on disk before a pull begins and goes when its outcome is: an image of which only the intent is
//! known counts as pulled, by credentials that nobody knows. So does one whose record cannot be read. What is of an
//! image that is gone is dropped by [`prune`].

mod absence;
mod file;
pub mod policy;
pub mod prune;
pub mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use pinnace_cri::image::Image;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::keyring::Credential;
use super::name::Name;
use crate::chain::Chain;
use crate::disk::Disk;
use absence::Absences;
use policy::Policy;
use verify::{Access, First, Match, PulledRecord};

/// Longest file that is read: a hundred secrets for each of some hundred names.
const MAX_FILE: u64 = 4 << 20;

/// The records. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Records {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    pulling: PathBuf,
    pulled: PathBuf,
    policy: Policy,
    /// Pulls under way by image; what is not here and has an intent is from a process before.
    under_way: Mutex<BTreeMap<String, u32>>,
    /// Of which images the last list had nothing.
    absences: Mutex<Absences>,
    /// One reader or writer of the files at a time; true once the intents of a process before were looked at. Whoever
    /// has it keeps it until the disk has answered, also when nobody waits for that any more.
    turn: Arc<Turn<bool>>,
}

/// A pull under way, as the records know it. Dropping it says that its outcome is not known.
#[derive(Debug)]
pub struct Intent {
    inner: Arc<Inner>,
    image: String,
}

impl Drop for Intent {
    fn drop(&mut self) {
        let mut under_way = self.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.image) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(&self.image);
            }
        }
    }
}

/// Whether a pod may use an image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Use,
    /// Only if a pull with its own credentials succeeds.
    Verify,
    /// If one of its credentials is among these, for [`Records::admits`].
    Compare(Access),
}

impl Records {
    /// The records below this root directory.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, root: &Path, policy: Policy) -> Self {
        let dir = root.join("image_manager");
        let (pulling, pulled) = (dir.join("pulling"), dir.join("pulled"));
        let (under_way, absences, turn) = (Mutex::default(), Mutex::default(), Arc::default());
        let inner = Inner { disk, pulling, pulled, policy, under_way, absences, turn };
        Self { inner: Arc::new(inner) }
    }

    /// Whether the configuration asks for records at all.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.inner.policy != Policy::Off
    }

    /// Whether intents of a process before may still be there, to be compared with the runtime's images.
    pub async fn wants_recovery(&self) -> bool {
        self.is_kept() && !*self.inner.turn.lock().await
    }

    /// Turns the intents of a process before whose image is there into records of pulls with unknown credentials.
    pub async fn recover(&self, images: Vec<Image>, now: Timestamp) {
        let done = self.inner.in_turn(move |inner, recovered| {
            if !*recovered {
                inner.recover(&images, now)?;
                *recovered = true;
            }
            Ok(())
        });
        if let Err(error) = done.await {
            tracing::warn!(error = %Chain(&error), "failed to read the intents of image pulls");
        }
    }

    /// Says on disk that an image is about to be pulled.
    pub async fn intend(&self, image: &str) -> io::Result<Intent> {
        let (name, is_kept) = (image.to_owned(), self.is_kept());
        let written = self.inner.in_turn(move |inner, _| {
            if is_kept {
                inner.write_intent(&name)?;
            }
            let mut under_way = inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            let count = under_way.entry(name.clone()).or_default();
            *count = count.saturating_add(1);
            drop(under_way);
            // Made here, so that it is counted out again if nobody waits for it any more.
            Ok(Intent { inner: Arc::clone(inner), image: name })
        });
        written.await
    }

    /// Says that the image was pulled, by this credential or by none, and is this in the runtime. If that cannot be
    /// written the intent stays, so that the image counts as pulled by what nobody knows.
    pub async fn pulled(&self, intent: Intent, id: &str, credential: Option<&Credential>, now: Timestamp) {
        if !self.is_kept() {
            return;
        }
        let (access, image, id) = (Access::of(credential), intent.image.clone(), id.to_owned());
        let written = self.inner.in_turn(move |inner, _| {
            inner.merge(&intent.image, &id, Some(&access), now)?;
            inner.forget(intent)
        });
        if let Err(error) = written.await {
            tracing::warn!(image, error = %Chain(&error), "failed to record the pull of an image, its next user pulls again");
        }
    }

    /// Says that nothing was pulled.
    pub async fn failed(&self, intent: Intent) {
        if !self.is_kept() {
            return;
        }
        let image = intent.image.clone();
        if let Err(error) = self.inner.in_turn(move |inner, _| inner.forget(intent)).await {
            tracing::warn!(image, error = %Chain(&error), "failed to remove the intent of an image pull");
        }
    }

    /// A list of the runtime's images is about to be asked for, for [`Records::prune`].
    pub fn begin_look(&self) {
        self.inner.absences().begin();
    }

    /// Drops records of images that are neither in this list nor were in the one before. Both must be whole.
    pub async fn prune(&self, listed: Vec<Image>) {
        if let Err(error) = self.inner.in_turn(move |inner, _| inner.prune(&listed)).await {
            tracing::warn!(error = %Chain(&error), "failed to drop records of images that are gone");
        }
    }

    /// What is known of an image that is there, by its name in the pod and its id in the runtime.
    pub async fn judge(&self, image: &str, id: &str) -> Verdict {
        if !self.is_kept() {
            return Verdict::Use;
        }
        let (name, wanted) = (image.to_owned(), id.to_owned());
        let first =
            self.inner.in_turn(move |inner, recovered| Ok(inner.judge(&name, &wanted, !*recovered))).await;
        match first {
            Ok(First::Use) => Verdict::Use,
            Ok(First::Compare(known)) => Verdict::Compare(known),
            Ok(First::Verify) => Verdict::Verify,
            Err(error) => {
                tracing::warn!(image, error = %Chain(&error), "failed to read what is known of an image");
                Verdict::Verify
            }
        }
    }

    /// Whether one of the pod's credentials is among those that the image was pulled with. What is new about it is
    /// remembered, so that it counts on its own later.
    pub async fn admits(
        &self,
        known: &Access,
        credentials: &[Credential],
        image: &str,
        id: &str,
        now: Timestamp,
    ) -> bool {
        match verify::compare(known, credentials) {
            Match::None => false,
            Match::Known => true,
            Match::Learned(secret) => {
                let access = Access { secrets: vec![secret], ..Access::default() };
                let (name, id) = (image.to_owned(), id.to_owned());
                let written =
                    self.inner.in_turn(move |inner, _| inner.merge(&name, &id, Some(&access), now)).await;
                if let Err(error) = written {
                    tracing::warn!(image, error = %Chain(&error), "failed to record a credential of an image");
                }
                true
            }
        }
    }
}

impl Inner {
    /// Works on the files, in turn, on a thread that may wait for the disk.
    async fn in_turn<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, &mut bool) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let inner = Arc::clone(self);
        let mut turn: OwnedMutexGuard<bool> = Arc::clone(&self.turn).lock_owned().await;
        tokio::task::spawn_blocking(move || work(&inner, &mut turn)).await.map_err(io::Error::other)?
    }

    /// The last pull of an image takes the intent away.
    fn forget(&self, intent: Intent) -> io::Result<()> {
        let image = intent.image.clone();
        drop(intent);
        if self.is_under_way(&image) { Ok(()) } else { self.disk.remove_file(&self.intent_path(&image)) }
    }

    fn is_under_way(&self, image: &str) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).contains_key(image)
    }

    fn intent_path(&self, image: &str) -> PathBuf {
        self.pulling.join(file::name(image))
    }

    fn write_intent(&self, image: &str) -> io::Result<()> {
        self.disk.create_dir_all(&self.pulling)?;
        self.disk.replace(&self.intent_path(image), &file::intent(image))
    }

    fn judge(&self, image: &str, id: &str, unsure: bool) -> First {
        let bare = Name::parse(image).map_or_else(|_| image.to_owned(), |name| name.bare);
        let read = self.disk.read(&self.pulled.join(file::name(id)), MAX_FILE);
        let is_file = !matches!(&read, Err(error) if error.kind() == io::ErrorKind::NotFound);
        let record = read.ok().and_then(|bytes| file::parse_record(&bytes));
        let record = record.filter(|record| record.image_ref == id);
        let intended = || unsure || self.is_under_way(image) || self.has_intent(image);
        let pulled_here = is_file || intended();
        verify::first(&self.policy, &bare, record.as_ref(), pulled_here)
    }

    /// One that cannot be read was made by a pull all the same.
    fn has_intent(&self, image: &str) -> bool {
        match self.disk.read(&self.intent_path(image), MAX_FILE) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn absences(&self) -> MutexGuard<'_, Absences> {
        self.absences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prune(&self, listed: &[Image]) -> io::Result<()> {
        let names = |image: &Image| {
            let names = [image.id.to_string()].into_iter();
            names.chain(image.repo_tags.clone()).chain(image.repo_digests.clone()).collect::<Vec<_>>()
        };
        let listed: BTreeSet<String> = listed.iter().flat_map(names).map(|name| file::name(&name)).collect();
        let recorded = self.disk.list(&self.pulled)?.into_iter();
        let recorded: Vec<String> =
            recorded.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
        let ours: Vec<String> = recorded.into_iter().filter(|name| name.starts_with(file::PREFIX)).collect();
        let gone = self.absences().look(&ours, &listed);
        gone.iter().try_for_each(|name| self.disk.remove_file(&self.pulled.join(name)))
    }

    /// Adds how an image was pulled, or only that it was, to its record.
    fn merge(&self, image: &str, id: &str, access: Option<&Access>, now: Timestamp) -> io::Result<()> {
        let bare = Name::parse(image).map_err(io::Error::other)?.bare;
        let name = file::name(id);
        self.absences().writes(&name);
        let path = self.pulled.join(name);
        let known = self.disk.read(&path, MAX_FILE).ok().and_then(|bytes| file::parse_record(&bytes));
        let known = known.filter(|record| record.image_ref == id);
        let Some(record) = verify::merged(known, id, &bare, access) else { return Ok(()) };
        self.disk.create_dir_all(&self.pulled)?;
        self.disk.replace(&path, &file::record(&PulledRecord { updated: now, ..record }))
    }

    fn recover(&self, images: &[Image], now: Timestamp) -> io::Result<()> {
        for path in self.disk.list(&self.pulling)? {
            let read = self.disk.read(&path, MAX_FILE);
            let Some(intended) = read.ok().and_then(|bytes| file::parse_intent(&bytes)) else { continue };
            let Ok(name) = Name::parse(&intended) else { continue };
            if self.is_under_way(&intended) {
                continue;
            }
            let full = name.full();
            let is_it = |image: &&Image| {
                let names = || image.repo_tags.iter().chain(&image.repo_digests);
                names().any(|known| *known == intended || *known == full)
            };
            for image in images.iter().filter(is_it) {
                self.merge(&intended, image.id.as_str(), None, now)?;
                self.disk.remove_file(&path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
