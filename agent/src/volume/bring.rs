//! One piece of work on a pod's volumes: look at what is there, get what the rest is made from, write it. The two parts
//! that touch the disk run on a blocking thread each, and nothing waits between the volumes of a pod. Neither leaves the
//! agent's own file system and those that it keeps in memory, where nothing hangs; what may is `reach`'s and `sub_path`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use crate::chain::Chain;
use crate::clock::Now;
use crate::disk::Disk;
use crate::disk::contents::{Contents, HugePages, Node, Opaque};
use crate::pod::paths::Dirs;
use crate::source::desired::DesiredPod;
use crate::volume::atomic_writer::current;
use crate::volume::gather::Gatherer;
use crate::volume::live::{Live, Work, key, shows_the_pod};
use crate::volume::owner::Owner;
use crate::volume::payload::{Around, Gathered, Payload, payload};
use crate::volume::place::{self, Place};
use crate::volume::plan::{self, Kind, Medium, Rendered, TokenSource, Volume};
use crate::volume::set_up::{Mode, SetUpError, Volumes};
use crate::volume::token::Token;
use crate::volume::{empty_dir, huge_pages, reach, size};

/// The pod's lock, held.
type Held = OwnedMutexGuard<Work>;

/// What the work is about.
#[derive(Debug)]
struct Round {
    pod: Arc<DesiredPod>,
    volumes: Vec<Volume>,
    owner: Owner,
    allocatable: BTreeMap<String, i64>,
    dirs: Dirs,
}

/// What there was of a volume.
enum Found {
    /// All of it.
    Whole,
    /// All of it, files that the agent wrote.
    Files(Contents),
    /// Its files are still to be written.
    Nothing,
}

impl Volumes {
    /// Brings all volumes of a pod to what they shall be.
    pub(super) async fn bring_all(&self, live: &Live, mode: Mode) -> Result<(), SetUpError> {
        let mut work = Arc::clone(&live.work).lock_owned().await;
        live.begin();
        let round = Arc::new(self.round(live.pod())?);
        work.kept.clear();
        let mut failed = match mode {
            Mode::SetUp => reach::check(self.apart(), &round.volumes).await,
            Mode::Renew => BTreeMap::new(),
        };
        let mut wanted: Vec<usize> = (0..round.volumes.len()).collect();
        if mode == Mode::SetUp {
            let looked;
            (work, looked) = self.blocking(live, work, &round, |disk, round| round.look(disk)).await;
            wanted = round.adopt(&mut work, looked, &mut failed, &self.now());
            let rendered = || round.volumes.iter().filter_map(Volume::rendered);
            let shows_more =
                rendered().any(|volume| volume.objects().next().is_some() || volume.shows_bundles());
            if wanted.len() < round.volumes.len() && (shows_more || shows_the_pod(&round.volumes)) {
                // What was found may be from before a change of the pod or of its objects.
                live.ask();
            }
        }
        let shared = &self.shared;
        let (objects, clock, pod) = (&shared.objects, &shared.clock, round.pod.as_ref());
        let sought: Vec<&Rendered> = wanted.iter().filter_map(|index| round.rendered(*index)).collect();
        let gathered = Gatherer { objects, clock, live, pod, mode }.gather(&mut work, &sought).await;
        let payloads = round.payloads(&wanted, &gathered, &mut failed);
        let (written, wall) = (round.clone(), self.now().wall);
        let results;
        (work, results) = self
            .blocking(live, work, &written, move |disk, round| round.write(disk, payloads, mode, wall))
            .await;
        match results {
            Ok(results) => failed.extend(results),
            Err(why) => drop(failed.insert(usize::MAX, why)),
        }
        self.settle(live, &mut work, &round, mode, failed)
    }

    fn round(&self, pod: Arc<DesiredPod>) -> Result<Round, SetUpError> {
        let volumes = plan::volumes(&pod.pod).map_err(SetUpError::Unbuilt)?;
        let owner = pod.pod.spec.as_ref().map(Owner::of).unwrap_or_default();
        let (allocatable, dirs) = (self.shared.allocatable.now(), self.shared.dirs.clone());
        Ok(Round { pod, volumes, owner, allocatable, dirs })
    }

    /// On a blocking thread, which holds the pod's lock to its end whoever still waits for it.
    async fn blocking<T: Send + 'static>(
        &self,
        live: &Live,
        work: Held,
        round: &Arc<Round>,
        job: impl FnOnce(&dyn Disk, &Round) -> T + Send + 'static,
    ) -> (Held, Result<T, String>) {
        let (disk, round) = (Arc::clone(&self.shared.disk), Arc::clone(round));
        let done = tokio::task::spawn_blocking(move || {
            let result = job(disk.as_ref(), &round);
            (work, result)
        });
        match done.await {
            Ok((work, result)) => (work, Ok(result)),
            // Only a panic in the disk comes here; the lock went with it.
            Err(error) => (Arc::clone(&live.work).lock_owned().await, Err(Chain(&error).to_string())),
        }
    }

    /// Says what came of it, and when the next renewal is due.
    fn settle(
        &self,
        live: &Live,
        work: &mut Work,
        round: &Round,
        mode: Mode,
        failed: BTreeMap<usize, String>,
    ) -> Result<(), SetUpError> {
        let fell_short = !failed.is_empty() || !work.kept.is_empty();
        work.failures = if fell_short { work.failures.saturating_add(1) } else { 0 };
        // A set-up that failed is tried again by the pod's plan; a pod is renewed once it has been set up.
        if failed.is_empty() || mode == Mode::Renew {
            live.schedule(work, &round.volumes, &self.now());
        }
        let told = |(index, why): (usize, String)| match round.volumes.get(index) {
            Some(volume) => format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name),
            None => why,
        };
        let mut failed: Vec<String> = failed.into_iter().map(told).collect();
        if mode == Mode::Renew {
            failed.append(&mut work.kept);
        }
        if failed.is_empty() { Ok(()) } else { Err(SetUpError::Failed(failed)) }
    }
}

impl Round {
    fn rendered(&self, index: usize) -> Option<&Rendered> {
        self.volumes.get(index).and_then(Volume::rendered)
    }

    /// Sees to the volumes that need nothing from elsewhere, and looks what is there of the others. Blocks.
    fn look(&self, disk: &dyn Disk) -> Vec<Result<Found, String>> {
        self.volumes.iter().map(|volume| self.look_at(disk, volume)).collect()
    }

    fn look_at(&self, disk: &dyn Disk, volume: &Volume) -> Result<Found, String> {
        let done = match &volume.kind {
            Kind::Rendered(rendered) => {
                let found = place::found(disk, &self.place(rendered.plugin, &volume.name), rendered);
                let files = |found: Option<Contents>| found.map_or(Found::Nothing, Found::Files);
                return found.map(files).map_err(|error| Chain(&error).to_string());
            }
            Kind::EmptyDir(wanted) => {
                let place = self.place(plan::Plugin::EmptyDir, &volume.name);
                match wanted.medium {
                    Medium::HugePages(named) => {
                        let page = huge_pages::page_size(named, self.pod.pod.spec.as_ref())?;
                        let pages = HugePages { page, limit: wanted.limit };
                        empty_dir::in_huge_pages(disk, &place, &self.owner, pages)
                    }
                    Medium::Disk => empty_dir::on_disk(disk, &place, &self.owner),
                    Medium::Memory => {
                        empty_dir::in_memory(disk, &place, &self.owner, self.size(wanted.limit))
                    }
                }
                .map_err(|error| Chain(&error).to_string())
            }
            // Looked at apart from these; the runtime's.
            Kind::HostPath(_) | Kind::Image { .. } => Ok(()),
        };
        done.map(|()| Found::Whole)
    }

    fn place(&self, plugin: plan::Plugin, name: &str) -> Place {
        let uid = &self.pod.uid;
        Place {
            pod: self.dirs.pod(uid),
            dir: self.dirs.volume(uid, plugin, name),
            mark: self.dirs.volume_mark(uid, plugin, name),
        }
    }

    fn size(&self, limit: Option<u64>) -> u64 {
        let memory = self.allocatable.get("memory").copied().unwrap_or(0);
        size::of(limit, self.pod.pod.spec.as_ref(), u64::try_from(memory).unwrap_or(0))
    }

    /// Takes over what an earlier run left whole, tokens included; returns which volumes are still to be written.
    fn adopt(
        &self,
        work: &mut Work,
        looked: Result<Vec<Result<Found, String>>, String>,
        failed: &mut BTreeMap<usize, String>,
        now: &Now,
    ) -> Vec<usize> {
        let mut wanted = Vec::new();
        let looked = looked.unwrap_or_else(|why| {
            failed.insert(usize::MAX, why);
            Vec::new()
        });
        for (index, found) in looked.into_iter().enumerate() {
            match (found, self.rendered(index)) {
                (Ok(Found::Files(contents)), Some(volume)) => {
                    for source in volume.tokens() {
                        let left = token_in(&contents, source).and_then(|bytes| Token::found(bytes, now));
                        if let Some(token) = left {
                            work.tokens.entry(key(volume, source)).or_insert(token);
                        }
                    }
                }
                (Ok(Found::Nothing), _) => wanted.push(index),
                (Ok(Found::Whole | Found::Files(_)), _) => {}
                (Err(why), _) => drop(failed.insert(index, why)),
            }
        }
        wanted
    }

    /// The files of the volumes that are to be written.
    fn payloads(
        &self,
        wanted: &[usize],
        gathered: &Gathered,
        failed: &mut BTreeMap<usize, String>,
    ) -> Vec<(usize, Payload)> {
        let around = Around { pod: &self.pod, owner: self.owner, allocatable: &self.allocatable, gathered };
        let mut all = Vec::new();
        for index in wanted {
            let Some(volume) = self.rendered(*index) else { continue };
            match payload(volume, &around) {
                Ok(payload) => all.push((*index, payload)),
                Err(missing) => drop(failed.insert(*index, one_text(missing))),
            }
        }
        all
    }

    /// Writes volumes; returns those that failed. Blocks.
    fn write(
        &self,
        disk: &dyn Disk,
        payloads: Vec<(usize, Payload)>,
        mode: Mode,
        wall: jiff::Timestamp,
    ) -> Vec<(usize, String)> {
        let one = |(index, payload): (usize, Payload)| {
            let volume = self.rendered(index)?;
            let place = self.place(volume.plugin, &volume.name);
            let made = match mode {
                Mode::SetUp => place::make(disk, &place, volume, &self.owner),
                Mode::Renew => Ok(()),
            };
            let result = made.and_then(|()| place::write(disk, &place, volume, &payload, wall));
            result.err().map(|error| (index, Chain(&error).to_string()))
        };
        payloads.into_iter().filter_map(one).collect()
    }
}

fn token_in<'a>(contents: &'a Contents, source: &TokenSource) -> Option<&'a Opaque> {
    match contents.get(&current(contents)?.join(&source.path))? {
        Node::File(bytes, _) => Some(bytes),
        Node::Directory(_) | Node::Link(_) | Node::Other => None,
    }
}

/// Several errors as the kubelet joins them.
fn one_text(mut errors: Vec<String>) -> String {
    match errors.len() {
        1 => errors.remove(0),
        _ => format!("[{}]", errors.join(", ")),
    }
}
