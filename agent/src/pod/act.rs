//! Carries out one step on the runtime and the disk. Decides nothing: what to do came from the plan, and what an
//! end means is for the next plan, made from a fresh look.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Container as Spec;
use pinnace_cri::client::Client;
use pinnace_cri::error::Error;
use pinnace_cri::id::{ContainerId, SandboxId};
use pinnace_cri::image::Image;
use pinnace_cri::v1::ImageSpec;
use tokio::sync::{Notify, watch};

use crate::cgroup::Cgroups;
use crate::chain::Chain;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::events::EventLog;
use crate::image::{self, Images};
use crate::journal::Journal;
use crate::objects::Objects;
use crate::pod::admit::Place;
use crate::pod::confine;
use crate::pod::container::{self, Site};
use crate::pod::job::{Done, Failure, Job};
use crate::pod::paths::{Dirs, is_component};
use crate::pod::prepare::{self, Instance};
use crate::pod::slots::Slots;
use crate::pod::step::Step;
use crate::pod::traces;
use crate::pod::userns::Userns;
use crate::runtime::class::RuntimeClasses;
use crate::runtime::watch::RuntimeState;
use crate::volume::{self, Volumes};

/// How long a stop counts against its pool. Once TERM is sent the runtime only waits, for the whole grace of a process
/// that takes it: a node full of such pods must be told at once and not a few every two seconds.
const STOP_LENT: Duration = Duration::from_millis(50);

/// A pod's volumes are set up when fewer creates than this wait before its own.
const SET_UPS_AHEAD: usize = 4;

/// What all pods' steps are carried out with.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The runtime.
    pub client: Client,
    /// The agent's own files.
    pub disk: Arc<dyn Disk>,
    /// Where they are.
    pub dirs: Dirs,
    /// The node, as it enters messages.
    pub site: Site,
    /// For removals, which wait until an exit is on disk.
    pub journal: Journal,
    /// What people are told.
    pub events: EventLog,
    /// For events.
    pub clock: Clock,
    /// Calls that make something.
    pub creates: Slots,
    /// Calls that take something down.
    pub teardowns: Slots,
    /// Images, and the pulls of them.
    pub images: Images,
    /// Set-ups of volumes.
    pub set_ups: Slots,
    /// Notified when an image was pulled.
    pub pulled: Arc<Notify>,
    /// The pods' volumes.
    pub volumes: Volumes,
    /// What pods refer to.
    pub objects: Objects,
    /// The node, as containers are told of it.
    pub place: watch::Receiver<Arc<Place>>,
    /// What the runtime says of itself.
    pub runtime: watch::Receiver<RuntimeState>,
    /// The pods' user namespaces.
    pub userns: Userns,
    /// Runtime classes that pods name.
    pub classes: RuntimeClasses,
    /// Their cgroups.
    pub cgroups: Cgroups,
}

impl Actor {
    /// Carries out one step, in a slot of its kind. Never dropped half-way by its caller.
    pub async fn perform(self: Arc<Self>, job: Job) -> Result<Done, Failure> {
        let place = job.place;
        let slots = match &job.step {
            Step::EnsureImage { .. } => return Box::pin(self.ensure_image(&job)).await,
            // Not the runtime's work, but what it needs of the API server is wanted in the order of the creates: made
            // for all of many pods at once, it would hold up the first.
            Step::SetUpVolumes => {
                self.creates.near(place, SET_UPS_AHEAD).await;
                self.set_ups.clone()
            }
            Step::TearDownVolumes => return Box::pin(volume::step::tear_down(&self, &job)).await,
            Step::StopContainer { .. } => self.teardowns.clone().lending(STOP_LENT),
            step if step.is_teardown() => self.teardowns.clone(),
            _ => self.creates.clone(),
        };
        // A generated client call is some 30 KiB of state. Boxed, or each layer around it would copy it; and not
        // before the slot is there, or a node full of pods that wait would hold one each.
        slots.run(place, async { Box::pin(self.in_slot(&job)).await }).await
    }

    async fn in_slot(&self, job: &Job) -> Result<Done, Failure> {
        match &job.step {
            Step::RunSandbox { attempt } => self.run_sandbox(job, *attempt).await,
            Step::StopSandbox { id } => {
                let stopped = self.client.stop_sandbox(id).await;
                stopped.map_err(|error| self.kill_failed(job, &error))?;
                confine::leave(self, job).await;
                Ok(Done::SandboxStopped(id.clone()))
            }
            Step::RemoveSandbox { id } => {
                let removed = self.client.remove_sandbox(id).await;
                removed.map(|()| Done::Changed).map_err(|error| self.teardown_failed(&error))
            }
            Step::EnsureImage { .. } => self.ensure_image(job).await,
            Step::SetUpVolumes => volume::step::set_up(self, job).await,
            Step::TearDownVolumes => volume::step::tear_down(self, job).await,
            Step::StartContainer { name, attempt, sandbox, sandbox_attempt, image_ref } => {
                let instance = Wanted { name, attempt: *attempt, image_ref };
                self.start_container(job, instance, sandbox, *sandbox_attempt).await
            }
            Step::StartCreated { name, attempt, id } => self.start_created(job, name, *attempt, id).await,
            Step::StopContainer { name, id, grace, why } => {
                self.killing(job, name, why);
                let stopped = self.client.stop_container(id, *grace).await;
                stopped.map(|()| Done::Changed).map_err(|error| self.kill_failed(job, &error))
            }
            // The event was sent with the stop that this one overtakes.
            Step::HurryContainer { id, grace, .. } => {
                let stopped = self.client.stop_container(id, *grace).await;
                stopped.map(|()| Done::Changed).map_err(|error| self.teardown_failed(&error))
            }
            Step::RemoveContainer { name, id, attempt } => {
                self.remove_container(job, name, id, *attempt).await
            }
            Step::RemoveTraces => self.remove_traces(job).await,
        }
    }

    fn teardown_failed(&self, error: &Error) -> Failure {
        Failure::call("", false, error)
    }

    fn kill_failed(&self, job: &Job, error: &Error) -> Failure {
        let failure = self.teardown_failed(error);
        let message = format!("error killing pod: {}", failure.message);
        self.events.warning(&job.object, "FailedKillPod", &message, self.clock.now().wall);
        failure
    }

    fn killing(&self, job: &Job, name: &str, why: &str) {
        let message = match why {
            "" => format!("Stopping container {name}"),
            // The kubelet does not name the container here.
            why if why.starts_with("is in ") => format!("Container {why}"),
            why => format!("Container {name} {why}"),
        };
        self.events.normal(job.container(name), "Killing", &message, self.clock.now().wall);
    }

    async fn run_sandbox(&self, job: &Job, attempt: u32) -> Result<Done, Failure> {
        let (Some(pod), Some(names)) = (&job.pod, &job.names) else { return Err(no_spec()) };
        if attempt > 0 {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.events.normal(&job.object, "SandboxChanged", message, self.clock.now().wall);
        }
        let (dir, logs) = (self.dirs.pod(names.uid()), self.dirs.pod_log(names));
        // The pod's own directory first: by it the next start finds what this one may leave.
        self.on_disk("FailedCreatePodSandBox", move |disk| {
            disk.create_dir_all(&dir)?;
            disk.create_dir_all(&logs)
        })
        .await?;
        let placed = Box::pin(confine::of_sandbox(self, job, pod, attempt)).await;
        let (config, handler) = placed.inspect_err(|failure| self.sandbox_failed(job, failure))?;
        let made = self.client.run_sandbox(config, &handler).await;
        let made = made.map_err(|error| Failure::call("FailedCreatePodSandBox", true, &error));
        made.inspect_err(|failure| self.sandbox_failed(job, failure)).map(|_| Done::Changed)
    }

    fn sandbox_failed(&self, job: &Job, failure: &Failure) {
        // A pod that is to go may take its sandbox away in the making: that is no failure of it.
        if !job.leaving.is_cancelled() {
            let message = format!("Failed to create pod sandbox: {}", failure.message);
            let wall = self.clock.now().wall;
            self.events.warning(&job.object, "FailedCreatePodSandBox", &message, wall);
        }
    }

    async fn ensure_image(&self, job: &Job) -> Result<Done, Failure> {
        let Step::EnsureImage { name, attempt } = &job.step else { return Err(no_spec()) };
        let spec = spec_of(job, name).ok_or_else(no_spec)?;
        let found = image::ensure::ensure(self, job, spec).await;
        if let (Err(failure), false) = (&found, job.leaving.is_cancelled()) {
            self.error(job, name, failure.reason);
        }
        found.map(|image_ref| Done::Image { name: name.clone(), attempt: *attempt, image_ref })
    }

    async fn start_container(
        &self,
        job: &Job,
        wanted: Wanted<'_>,
        sandbox: &SandboxId,
        sandbox_attempt: u32,
    ) -> Result<Done, Failure> {
        let (Some(pod), Some(names)) = (&job.pod, &job.names) else { return Err(no_spec()) };
        let spec = spec_of(job, wanted.name).ok_or_else(no_spec)?;
        if job.leaving.is_cancelled() {
            return Ok(Done::Changed);
        }
        let instance = Instance {
            pod,
            spec: pod.pod.spec.as_ref().ok_or_else(no_spec)?,
            container: spec,
            names,
            sandbox_attempt,
            attempt: wanted.attempt,
            image_ref: wanted.image_ref,
            sandbox_ips: &job.ips,
        };
        let prepared = Box::pin(prepare::prepare(self, instance)).await;
        let prepared = prepared.inspect_err(|failure| self.error(job, wanted.name, &failure.message))?;
        let config = container::config(instance, prepared, &self.site);
        let around = Box::pin(confine::around(self, job, pod, sandbox_attempt)).await?;
        match self.client.create_container(sandbox, config, around).await {
            Ok(id) => {
                let object = job.container(wanted.name);
                self.events.normal(object, "Created", "Container created", self.clock.now().wall);
                self.start(job, spec, wanted.attempt, &id).await
            }
            Err(error) => Err(self.start_failed(job, wanted.name, "CreateContainerError", &error)),
        }
    }

    async fn start(&self, job: &Job, spec: &Spec, attempt: u32, id: &ContainerId) -> Result<Done, Failure> {
        if job.leaving.is_cancelled() {
            return Ok(Done::Changed);
        }
        if let Err(error) = self.client.start_container(id).await {
            let mut failure = self.start_failed(job, &spec.name, "RunContainerError", &error);
            failure.made = true;
            return Err(failure);
        }
        let object = job.container(&spec.name);
        self.events.normal(object, "Started", "Container started", self.clock.now().wall);
        self.link_log(job, &spec.name, attempt, id).await;
        Ok(Done::Changed)
    }

    async fn start_created(
        &self,
        job: &Job,
        name: &str,
        attempt: u32,
        id: &ContainerId,
    ) -> Result<Done, Failure> {
        let spec = spec_of(job, name).ok_or_else(no_spec)?;
        self.start(job, spec, attempt, id).await
    }

    fn start_failed(&self, job: &Job, name: &str, reason: &'static str, error: &Error) -> Failure {
        let failure = Failure::call(reason, true, error);
        self.error(job, name, &failure.message);
        failure
    }

    /// What kept a container from running, in the words that the kubelet has for every cause.
    fn error(&self, job: &Job, name: &str, message: &str) {
        let message = format!("Error: {message}");
        self.events.warning(job.container(name), "Failed", &message, self.clock.now().wall);
    }

    /// The link is a convenience for log collectors: a failure is logged and stops nothing.
    async fn link_log(&self, job: &Job, container: &str, attempt: u32, id: &ContainerId) {
        let Some(names) = &job.names else { return };
        let Some(link) = self.dirs.log_link(names, container, id.as_str()) else { return };
        let Some(dir) = self.dirs.container_logs.clone() else { return };
        let target = self.dirs.log_file(names, container, attempt);
        let made = self
            .on_disk("", move |disk| {
                disk.create_dir_all(&dir)?;
                disk.symlink(&target, &link)
            })
            .await;
        if let Err(failure) = made {
            tracing::warn!(pod = %job.object, error = failure.message, "failed to link the container's log");
        }
    }

    async fn remove_container(
        &self,
        job: &Job,
        name: &str,
        id: &ContainerId,
        attempt: u32,
    ) -> Result<Done, Failure> {
        self.journal_first(job).await?;
        // Files first: once the container is gone nothing leads to them any more.
        if let Some(names) = job.names.as_ref().filter(|_| is_component(name)) {
            let log = self.dirs.log_file(names, name, attempt);
            let link = self.dirs.log_link(names, name, id.as_str());
            self.on_disk("", move |disk| {
                link.map_or(Ok(()), |link| disk.remove_file(&link))?;
                disk.remove_file(&log)
            })
            .await?;
        }
        let removed = self.client.remove_container(id).await;
        removed.map(|()| Done::Changed).map_err(|error| self.teardown_failed(&error))
    }

    /// An exit that is not on disk is not removed from the runtime: it would be the only copy.
    async fn journal_first(&self, job: &Job) -> Result<(), Failure> {
        if job.before.is_empty() {
            return Ok(());
        }
        let written = self.journal.record_before_effect(job.before.clone()).await;
        written.map_err(|error| Failure::plain("", format!("not removed: {}", Chain(&error))))
    }

    async fn remove_traces(&self, job: &Job) -> Result<Done, Failure> {
        confine::give_up(self, job).await?;
        let (dirs, uid) = (self.dirs.clone(), job.uid.clone());
        let remove = move |disk: &dyn Disk| traces::remove(disk, &dirs, &uid);
        let mut removed = self.on_disk("", remove.clone()).await;
        // What a container mounted may have come to light since its volumes were taken down.
        if removed.is_err() && self.volumes.tear_down(&job.uid).await.is_ok() {
            removed = self.on_disk("", remove).await;
        }
        if let (Err(failure), true) = (&removed, job.names.is_some()) {
            let message = format!("error removing the pod's directories: {}", failure.message);
            self.events.warning(&job.object, "FailedCleanUp", &message, self.clock.now().wall);
        }
        removed?;
        self.userns.release(&job.uid).await;
        Ok(Done::TracesGone)
    }

    pub(crate) async fn on_disk<T: Send + 'static>(
        &self,
        reason: &'static str,
        work: impl FnOnce(&dyn Disk) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let disk = Arc::clone(&self.disk);
        match tokio::task::spawn_blocking(move || work(disk.as_ref())).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failure::plain(reason, Chain(&error).to_string())),
            Err(error) => Err(Failure::plain(reason, Chain(&error).to_string())),
        }
    }

    /// Asks the runtime whether it has an image.
    pub(crate) async fn image(&self, image: &ImageSpec) -> Result<Option<Image>, Error> {
        self.client.image_status(image.clone()).await
    }
}

/// The instance to make.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    name: &'a str,
    attempt: u32,
    image_ref: &'a str,
}

fn spec_of<'a>(job: &'a Job, name: &str) -> Option<&'a Spec> {
    let pod = job.pod.as_ref()?;
    pod.pod.spec.as_ref()?.containers.iter().find(|container| container.name == name)
}

pub(super) fn no_spec() -> Failure {
    Failure::plain("CreateContainerConfigError", "the pod's spec has no such container".to_owned())
}
