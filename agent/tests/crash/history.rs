//! The one checker of invariants I1 to I8 over everything that happened in a run, whatever crashed when.
//!
//! It hears of each call to the runtime, before its work and after it, of each change of what is wanted, and of
//! every view that the agent gave; at the end it compares the runtime, the disk, the journal and the views.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use pinnace::disk::MemoryDisk;
use pinnace::journal::Journal;
use pinnace::view::{ContainerView, PodView};
use pinnace_cri::fake::{Call, CallRecord, Container, Fake, Moment, Phase, Sandbox, Snapshot};
use pinnace_cri::v1::PodSandboxState;

use super::child::Places;
use super::points::CHANGING;

/// What the agent said and what the runtime held at one moment.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub pods: Vec<PodView>,
    pub containers: Vec<ContainerView>,
    pub runtime: Snapshot,
}

/// The checker. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    /// UIDs of the pods that are wanted, by the name of their manifest.
    wanted: BTreeMap<String, String>,
    /// Attempts of sandboxes by UID, and of containers by UID and name, in the order of their making.
    attempts: BTreeMap<(String, String), Vec<u32>>,
    /// How containers ended, by id, as the runtime had it.
    ends: BTreeMap<String, i32>,
    /// How containers ended, by id, as the agent said: code, reason, end.
    told: BTreeMap<String, (Option<i32>, String, String)>,
    terminal: BTreeMap<String, String>,
    restarts: BTreeMap<String, u32>,
    broken: BTreeSet<String>,
}

impl History {
    /// Listens to the calls of `fake`.
    pub fn listen(&self, fake: &Fake) {
        let (history, runtime) = (self.clone(), fake.clone());
        fake.set_tap(move |moment, call| {
            if CHANGING.contains(&call.call.as_str()) {
                // Looking at the pods is allowed: only the log of calls is locked here.
                let snapshot = runtime.snapshot();
                history.lock().hear(moment, call, &snapshot);
            }
        });
    }

    /// A manifest is there from now on with this pod, or is gone.
    pub fn want(&self, manifest: &str, uid: Option<String>) {
        let mut record = self.lock();
        match uid {
            Some(uid) => record.wanted.insert(manifest.to_owned(), uid),
            None => record.wanted.remove(manifest),
        };
    }

    /// The agent gave these views; `runtime` is what the runtime held when they had been given.
    pub fn saw(&self, seen: &Seen, runtime: &Snapshot) {
        let mut record = self.lock();
        record.learn_ends(runtime);
        record.saw(seen);
    }

    /// Everything that was broken so far.
    pub fn broken(&self) -> Vec<String> {
        self.lock().broken.iter().cloned().collect()
    }

    /// What is not as it must be once nothing moves any more: I6 and I8.
    pub fn at_rest(&self, seen: &Seen, places: &Places) -> Vec<String> {
        let wanted = self.lock().wanted.values().cloned().collect();
        let rest = Rest { wanted, seen, places };
        [rest.views(), rest.runtime(), rest.directories(), rest.logs(), rest.journal()].concat()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap()
    }
}

impl Record {
    fn breaks(&mut self, what: String) {
        self.broken.insert(what);
    }

    fn wants(&self, uid: &str) -> bool {
        self.wanted.values().any(|wanted| wanted == uid)
    }

    fn hear(&mut self, moment: Moment, call: &CallRecord, runtime: &Snapshot) {
        self.learn_ends(runtime);
        match moment {
            Moment::Began => self.no_causeless_end(call, runtime),
            Moment::TookEffect => {
                self.attempts_are_new(call);
                self.at_most_one(runtime);
            }
            Moment::Ended => {}
        }
    }

    fn learn_ends(&mut self, runtime: &Snapshot) {
        for container in runtime.containers.values() {
            if let Some(code) = container.exit_code() {
                self.ends.insert(container.id.clone(), code);
            }
        }
    }

    /// I1: a container that runs is ended only if its pod is not wanted.
    fn no_causeless_end(&mut self, call: &CallRecord, runtime: &Snapshot) {
        let subject = &call.subject;
        let hit = |container: &&Container| match call.call {
            Call::StopContainer | Call::RemoveContainer => {
                Some(&container.id) == subject.container_id.as_ref()
            }
            Call::StopPodSandbox | Call::RemovePodSandbox => {
                Some(&container.sandbox_id) == subject.sandbox_id.as_ref()
            }
            _ => false,
        };
        for container in runtime.running().into_iter().filter(hit) {
            let uid = uid_of(runtime, container);
            if self.wants(&uid) {
                let name = container.metadata().name;
                self.breaks(format!("I1: {} of running container {name} of wanted pod {uid}", call.call));
            }
        }
    }

    /// I3: no attempt is used twice, and none lower than one before.
    fn attempts_are_new(&mut self, call: &CallRecord) {
        let subject = &call.subject;
        let name = match call.call {
            Call::RunPodSandbox => "(sandbox)".to_owned(),
            Call::CreateContainer => subject.container.clone().unwrap_or_default(),
            _ => return,
        };
        let (uid, attempt) =
            (subject.pod_uid.clone().unwrap_or_default(), subject.attempt.unwrap_or_default());
        let made = self.attempts.entry((uid.clone(), name.clone())).or_default();
        let used = made.iter().any(|before| *before >= attempt);
        made.push(attempt);
        if used {
            let made = made.clone();
            self.breaks(format!("I3: attempts {made:?} of {name} of pod {uid}"));
        }
    }

    /// I4: one running container of a name, one ready sandbox of a pod, one live pod of a name.
    fn at_most_one(&mut self, runtime: &Snapshot) {
        let mut containers = BTreeSet::new();
        for container in runtime.running() {
            let key = (uid_of(runtime, container), container.metadata().name);
            if !containers.insert(key.clone()) {
                self.breaks(format!("I4: two running containers {key:?}"));
            }
        }
        let mut names = BTreeMap::new();
        for sandbox in runtime.sandboxes.values().filter(|sandbox| is_ready(sandbox)) {
            let metadata = sandbox.config.metadata.clone().unwrap_or_default();
            let name = (metadata.namespace, metadata.name);
            if let Some(other) = names.insert(name.clone(), metadata.uid.clone()) {
                self.breaks(format!(
                    "I4: two ready sandboxes of {name:?}: pods {other} and {}",
                    metadata.uid
                ));
            }
        }
    }

    fn saw(&mut self, seen: &Seen) {
        for pod in &seen.pods {
            // The agent says itself that it does not know yet.
            if pod.phase == "Unknown" {
                continue;
            }
            self.terminal_is_for_ever(pod);
            let known = self.restarts.insert(pod.uid.clone(), pod.restarts);
            if known > Some(pod.restarts) {
                self.breaks(format!("I3: restarts of {} went from {known:?} to {}", pod.name, pod.restarts));
            }
        }
        for container in &seen.containers {
            self.an_end_never_changes(container);
        }
    }

    /// I2, phases.
    fn terminal_is_for_ever(&mut self, pod: &PodView) {
        let known = self.terminal.get(&pod.uid).cloned();
        if let Some(known) = known.filter(|known| *known != pod.phase) {
            self.breaks(format!("I2: phase of {} went from {known} to {}", pod.name, pod.phase));
        }
        if matches!(pod.phase.as_str(), "Succeeded" | "Failed") {
            self.terminal.insert(pod.uid.clone(), pod.phase.clone());
        }
    }

    /// I2, exits: what was said of an instance stays, and is what the runtime knew.
    fn an_end_never_changes(&mut self, view: &ContainerView) {
        let (Some(id), "Terminated") = (&view.id, view.state.as_str()) else { return };
        let told = (view.exit_code, view.reason.clone(), format!("{:?}", view.finished));
        let known = self.told.insert(id.clone(), told.clone());
        if let Some(known) = known.filter(|known| *known != told) {
            self.breaks(format!("I2: the end of {} went from {known:?} to {told:?}", view.name));
        }
        let real = self.ends.get(id).copied();
        if real != view.exit_code {
            let said = view.exit_code;
            self.breaks(format!("I2: {} ended with {real:?}, the agent says {said:?}", view.name));
        }
    }
}

/// What is left when nothing moves any more.
struct Rest<'a> {
    wanted: BTreeSet<String>,
    seen: &'a Seen,
    places: &'a Places,
}

impl Rest<'_> {
    /// I8: what the agent says is what the runtime holds.
    fn views(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let said: BTreeSet<_> = self.seen.pods.iter().map(|pod| pod.uid.clone()).collect();
        if said != self.wanted {
            broken.push(format!("I8: pods {said:?} are shown, {:?} are wanted", self.wanted));
        }
        let running = self.seen.runtime.running();
        let running: BTreeSet<_> = running.iter().map(|container| container.id.clone()).collect();
        let shown = self.seen.containers.iter().filter(|container| container.state == "Running");
        let shown: BTreeSet<_> = shown.filter_map(|container| container.id.clone()).collect();
        if running != shown {
            broken.push(format!("I8: {shown:?} are shown as running, {running:?} run"));
        }
        broken
    }

    /// I6: no sandbox of a pod that is not wanted, hence no container and no address of one.
    fn runtime(&self) -> Vec<String> {
        let sandboxes = self.seen.runtime.sandboxes.values();
        let uids = sandboxes.map(|sandbox| sandbox.config.metadata.clone().unwrap_or_default().uid);
        self.unwanted("a sandbox of", uids.collect())
    }

    /// I6: no directory of one.
    fn directories(&self) -> Vec<String> {
        self.unwanted("the directory of", names_in(&self.places.root().join("pods")))
    }

    /// I6: no log of a pod or an instance that is gone, and no link to one.
    fn logs(&self) -> Vec<String> {
        let dirs = names_in(&self.places.logs());
        let uids: Vec<_> = dirs.iter().filter_map(|dir| dir.rsplit('_').next()).map(str::to_owned).collect();
        let mut broken = self.unwanted("the log directory of", uids.clone());
        for (dir, uid) in dirs.iter().zip(&uids) {
            broken.extend(self.logs_of_the_gone(&self.places.logs().join(dir), uid));
        }
        for link in names_in(&self.places.links()) {
            if !self.seen.runtime.containers.keys().any(|id| link.contains(id.as_str())) {
                broken.push(format!("I6: link to the log of a container that is gone: {link}"));
            }
        }
        broken
    }

    fn logs_of_the_gone(&self, dir: &Path, uid: &str) -> Vec<String> {
        let containers = self.seen.runtime.containers_of(uid);
        let log = |container: &&Container| {
            let metadata = container.metadata();
            format!("{}/{}.log", metadata.name, metadata.attempt)
        };
        let kept: BTreeSet<_> = containers.iter().map(log).collect();
        let names = names_in(dir).into_iter().filter(|name| name != "way-out");
        let logs = names
            .flat_map(|name| names_in(&dir.join(&name)).into_iter().map(move |log| format!("{name}/{log}")));
        let gone = logs.filter(|log| !kept.contains(log));
        gone.map(|log| format!("I6: log {log} of an instance that is gone, pod {uid}")).collect()
    }

    /// I6: no memory of one.
    fn journal(&self) -> Vec<String> {
        // A copy: the agent writes, and opening repairs.
        let copy = MemoryDisk::default();
        for name in names_in(&self.places.journal()) {
            let path = self.places.journal().join(name);
            let _replaced_meanwhile = std::fs::read(&path).map(|bytes| copy.put(&path, &bytes));
        }
        let opened = Journal::open(Arc::new(copy), self.places.journal());
        self.unwanted("the journal's memory of", opened.histories.keys().map(ToString::to_string).collect())
    }

    fn unwanted(&self, what: &str, uids: Vec<String>) -> Vec<String> {
        let unwanted = uids.into_iter().filter(|uid| !self.wanted.contains(uid));
        unwanted.map(|uid| format!("I6: {what} pod {uid}, which is not wanted")).collect()
    }
}

fn is_ready(sandbox: &Sandbox) -> bool {
    sandbox.state == PodSandboxState::SandboxReady
}

fn uid_of(runtime: &Snapshot, container: &Container) -> String {
    let sandbox = runtime.sandboxes.get(&container.sandbox_id);
    sandbox.and_then(|sandbox| sandbox.config.metadata.clone()).unwrap_or_default().uid
}

/// Names of what is in a directory; an absent one is empty.
pub fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Whether the process of a container runs.
pub fn runs(container: &Container) -> bool {
    matches!(container.phase, Phase::Running { .. })
}
