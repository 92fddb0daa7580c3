//! Keeps the node's object true. Owns what was reported when; woken by the runtime, the machine, the images, changes
//! of the object by others, and time; writes the object's status and the node's events; ends with the stop token.
//!
//! ```text
//!  machine, runtime, images ─▶ look ─▶ object as it should be ─┐
//!  object as the API has it ───────────────────────────────────┴▶ difference ─▶ PATCH of nodes/status
//! ```
//! It first registers the node, then looks every 10 s, and writes only what differs, or every 5 min that it is alive.
//! Nothing of others is named in a patch, and nothing is read before a write.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::Patch;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::call::{CallError, patching, within};
use super::capacity::Resources;
use super::complaint::Complaint;
use super::facts::{Look, Sources};
use super::known::Known;
use super::lease::Owner;
use super::notices::Notices;
use super::object::{self, RuntimeFacts};
use super::pace::{Dice, Doubling};
use super::patch;
use super::refusal::Refusal;
use super::register::{RegisterError, Registered, Registrar};
use super::verdict::Verdict;
use crate::api::decoded::Decoded;
use crate::api::patience::CALL;
use crate::chain::Chain;

/// Delays between attempts to register (`registerWithAPIServer` in `pkg/kubelet/kubelet_node_status.go`).
const REGISTER: Doubling = Doubling::new(Duration::from_millis(100), Duration::from_secs(7));
/// Delays after a write that failed.
const RETRY: Doubling = Doubling::new(Duration::from_millis(200), Duration::from_secs(7));
/// How long a new node's registration waits for the runtime's first word, so that it can carry it.
const FIRST_WORD: Duration = Duration::from_millis(700);
/// Changes of others are put right no sooner than this after a write: whoever writes back each time must not make a
/// storm. With the time of a look it is well within the 10 s in which a wrong address is put right.
const CORRECT_AFTER: Duration = Duration::from_secs(5);
/// Looks are spread by this part.
const SPREAD: f64 = 0.04;

/// What the loop tells the others.
#[derive(Debug)]
pub struct Outputs {
    /// What the machine has and gives.
    pub resources: watch::Sender<Option<Arc<Resources>>>,
    /// What is wrong.
    pub problem: watch::Sender<Option<String>>,
    /// Whose lease to keep.
    pub owner: watch::Sender<Owner>,
    /// Why the object that is there is not taken.
    pub refused: watch::Sender<Option<Refusal>>,
}

/// The loop.
#[derive(Debug)]
pub struct Heartbeat {
    sources: Sources,
    api: Api<Decoded<Node>>,
    known: Known,
    changed: watch::Receiver<Option<Arc<Node>>>,
    registrar: Registrar,
    outputs: Outputs,
    notices: Notices,
    dice: Dice,
    complaint: Complaint,
    runtime: RuntimeFacts,
    /// A verdict of this process is in the API.
    reported: bool,
    last_report: Option<Instant>,
    /// When the next report without a change is due.
    next_report: Option<Instant>,
    /// A change that the API took without keeping it; not written again.
    futile: Option<Value>,
}

impl Heartbeat {
    /// A loop whose object is `known`'s.
    #[must_use]
    pub fn new(
        client: kube::Client,
        sources: Sources,
        known: Known,
        registrar: Registrar,
        outputs: Outputs,
        notices: Notices,
        seed: u64,
    ) -> Self {
        Self {
            api: Api::all(client),
            changed: known.reader(),
            sources,
            known,
            registrar,
            outputs,
            notices,
            dice: Dice::new(seed),
            complaint: Complaint::default(),
            runtime: RuntimeFacts::default(),
            reported: false,
            last_report: None,
            next_report: None,
            futile: None,
        }
    }

    /// Runs until `stop`. A write under way is dropped then; the next start makes the same one.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.live() => {}
        }
    }

    async fn live(&mut self) {
        self.notices.starting(self.sources.clock.now().wall);
        self.first_words().await;
        self.register().await;
        let mut retry = RETRY;
        let mut due = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                Ok(()) = self.sources.runtime.changed() => {}
                Ok(()) = self.sources.host.changed() => {}
                Ok(()) = self.sources.images.changed() => {}
                Ok(()) = self.changed.changed() => {
                    due = due.min(self.last_report.map_or(due, |at| at + CORRECT_AFTER));
                    continue;
                }
            }
            due = Instant::now()
                + match self.pass().await {
                    Ok(()) => {
                        retry.reset();
                        self.dice.longer(self.sources.settings.update_frequency, SPREAD)
                    }
                    Err(error) => {
                        self.complain(
                            Chain(&error).to_string(),
                            "the node's status is not written, trying again",
                        );
                        retry.delay()
                    }
                };
        }
    }

    /// Waits for the machine to be read, however long that takes, and a moment for the runtime.
    async fn first_words(&mut self) {
        let read = self.sources.host.wait_for(Option::is_some).await.is_ok();
        if !read {
            std::future::pending::<()>().await;
        }
        let patience = Instant::now() + FIRST_WORD;
        let asked = self.sources.runtime.wait_for(|state| state.asked);
        let _late = tokio::time::timeout_at(patience, asked).await.is_err();
    }

    async fn register(&mut self) {
        let mut retry = REGISTER;
        loop {
            if let Some(look) = self.look(None) {
                match self.try_register(&look).await {
                    Ok(()) => return,
                    Err(error) => {
                        if let RegisterError::Refused(refusal) = &error {
                            self.outputs.refused.send_replace(Some(refusal.clone()));
                        }
                        self.complain(Chain(&error).to_string(), "the node is not registered, trying again");
                    }
                }
            }
            sleep(retry.delay()).await;
        }
    }

    async fn try_register(&mut self, look: &Look) -> Result<(), RegisterError> {
        let (initial, machine) = (object::initial(&self.sources.facts(look)), &look.host.machine);
        let registered = self.registrar.attempt(&initial, machine, &self.sources.settings).await?;
        self.outputs.refused.send_if_modified(|refused| refused.take().is_some());
        info!(node = self.sources.name, new = registered == Registered::Made, "the node is registered");
        if registered == Registered::Made {
            let conditions = conditions(&initial).to_vec();
            self.commit(look, &[], &conditions, true);
        }
        self.settle(look);
        Ok(())
    }

    fn look(&mut self, existing: Option<&Node>) -> Option<Look> {
        let look = self.sources.look(existing, self.reported, &self.runtime)?;
        self.runtime = look.runtime.clone();
        self.outputs.resources.send_if_modified(|last| {
            let is_news = last.as_ref() != Some(&look.resources);
            if is_news {
                *last = Some(Arc::clone(&look.resources));
            }
            is_news
        });
        Some(look)
    }

    async fn pass(&mut self) -> Result<(), CallError> {
        let existing = self.known.current();
        let Some(look) = self.look(existing.as_deref()) else { return Ok(()) };
        let uid = existing.as_ref().and_then(|node| node.metadata.uid.clone());
        self.own(uid.map(Arc::from));
        let Some(existing) = existing else {
            let text = "the node's object was deleted from the API; start Pinnace again to register the node";
            self.complain(text.to_owned(), "the node's status is not written");
            return Ok(());
        };
        self.notices.observe(&existing, &look.host.machine.boot_id, look.at);
        let wanted = self.wanted(&look, &existing);
        let is_first_word = !self.reported && look.verdict != Verdict::Unknown;
        let Some((patch, is_change)) = self.decide(&existing, &wanted, is_first_word) else {
            self.settle(&look);
            return Ok(());
        };
        let (params, body) = (patching(), Patch::Strategic(&patch));
        let written = self.api.patch_status(&self.sources.name, &params, &body);
        let Decoded(answer) = within("write the node's status", CALL, written).await?;
        let kept = patch::changes(&answer, &wanted, self.addresses_are_ours());
        self.futile = kept.map(|kept| patch::without_conditions(&kept)).filter(|kept| {
            let is_same = *kept == patch::without_conditions(&patch);
            is_same && patch::says_something(kept)
        });
        self.known.learn(answer);
        self.changed.mark_unchanged();
        self.commit(&look, conditions(&existing), conditions(&wanted), is_change);
        self.settle(&look);
        Ok(())
    }

    fn addresses_are_ours(&self) -> bool {
        !self.sources.settings.external_cloud_provider
    }

    fn wanted(&self, look: &Look, existing: &Node) -> Node {
        let facts = self.sources.facts(look);
        let initial = object::initial(&facts);
        let metadata = ObjectMeta {
            labels: initial.metadata.labels,
            annotations: Some(object::annotations(&facts)),
            ..ObjectMeta::default()
        };
        let status = object::status(&facts, conditions(existing));
        Node { metadata, status: Some(status), spec: None }
    }

    /// What to write, and whether it is more than a sign of life; none if nothing is due. A process's first word on
    /// whether the node is ready is due at once, even if it is the old one.
    fn decide(&self, existing: &Node, wanted: &Node, is_first_word: bool) -> Option<(Value, bool)> {
        let change = patch::changes(existing, wanted, self.addresses_are_ours()).filter(|change| {
            let is_futile = self.futile.as_ref() == Some(&patch::without_conditions(change));
            !is_futile || patch::conditions_differ(existing, wanted)
        });
        if let Some(change) = change {
            return Some((change, true));
        }
        let is_due = is_first_word || self.next_report.is_none_or(|at| Instant::now() >= at);
        is_due.then(|| (patch::heartbeat(conditions(wanted)), false))
    }

    /// Takes in that a report is in the API. The first interval after a change is chance, so that nodes that change
    /// together do not go on reporting together.
    fn commit(&mut self, look: &Look, before: &[NodeCondition], after: &[NodeCondition], is_change: bool) {
        let now = Instant::now();
        let period = self.sources.settings.report_frequency;
        let spread = is_change || self.last_report.is_none();
        let factor = if spread { 0.5 + self.dice.fraction() } else { 1.0 };
        self.next_report = Some(now + period.mul_f64(factor));
        self.last_report = Some(now);
        self.reported |= look.verdict != Verdict::Unknown;
        self.notices.conditions(before, after, look.at);
    }

    fn own(&self, owner: Owner) {
        self.outputs.owner.send_if_modified(|last| {
            let is_news = *last != owner;
            if is_news {
                *last = owner;
            }
            is_news
        });
    }

    /// The API is as it should be; what is wrong with the machine or the configuration is told all the same.
    fn settle(&mut self, look: &Look) {
        let uid = self.known.current().and_then(|node| node.metadata.uid.clone());
        self.own(uid.map(Arc::from));
        match look.problems.as_slice() {
            [] => {
                if self.complaint.clear() {
                    info!("the node's object is as it should be again");
                }
                self.outputs.problem.send_if_modified(|problem| problem.take().is_some());
            }
            problems => self.complain(problems.join("; "), "the node's object is not complete"),
        }
    }

    fn complain(&mut self, problem: String, what: &'static str) {
        if self.complaint.raise(&problem, Instant::now()) {
            warn!(problem, "{what}");
        }
        self.outputs.problem.send_if_modified(|last| {
            let is_news = last.as_ref() != Some(&problem);
            if is_news {
                *last = Some(problem);
            }
            is_news
        });
    }
}

fn conditions(node: &Node) -> &[NodeCondition] {
    node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}
