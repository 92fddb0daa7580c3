//! Pulls of images: one for all pods that want the same image with the same credentials, in a place among few, with
//! one credential after the other. Writes to the runtime and the records.
//!
//! A pull lives as long as somebody waits for it: it is a future that its waiters share, so that a pull whose last
//! pod goes is dropped, which ends it in the runtime, and gives its place back at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use pinnace_cri::client::Client;
use pinnace_cri::v1::{AuthConfig, ImageSpec};
use tokio::time::Instant;

use crate::chain::Chain;
use crate::clock::Clock;
use crate::image::keyring::Credential;
use crate::image::lanes::Lanes;
use crate::image::name::Name;
use crate::image::progress::Progress;
use crate::image::rate::Rate;
use crate::image::records::Records;
use crate::image::words::{self, Refusal};
use crate::pod::slots::Order;

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// How the runtime names it.
    pub id: String,
    /// Bytes on disk; 0, as in the kubelet's message, where the runtime does not say.
    pub size: u64,
    /// How long the runtime took.
    pub took: Duration,
}

/// What is pulled for whom.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// As the pod has it.
    pub shown: String,
    /// What it means.
    pub name: Name,
    /// Annotations of the pod, for the runtime.
    pub annotations: BTreeMap<String, String>,
    /// What to try; empty is without credentials.
    pub credentials: Vec<Credential>,
    /// Place in the line.
    pub place: Order,
}

type Outcome = Result<Pulled, Refusal>;
type Running = Shared<BoxFuture<'static, Outcome>>;
/// The image, and the digests of the credentials in their order.
type Key = (String, Vec<String>);

/// Makes pulls. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Pulls {
    tools: Arc<Tools>,
    running: Arc<Mutex<BTreeMap<Key, WeakShared<BoxFuture<'static, Outcome>>>>>,
}

#[derive(Debug)]
struct Tools {
    client: Client,
    clock: Clock,
    lanes: Lanes,
    rate: Rate,
    records: Records,
    progress: Progress,
}

/// One try that failed.
struct Failed {
    text: String,
    /// Nothing of it goes on in the runtime.
    is_over: bool,
}

impl Pulls {
    /// Pulls with this runtime.
    #[must_use]
    pub fn new(
        client: Client,
        clock: Clock,
        lanes: Lanes,
        rate: Rate,
        records: Records,
        progress: Progress,
    ) -> Self {
        let tools = Tools { client, clock, lanes, rate, records, progress };
        Self { tools: Arc::new(tools), running: Arc::default() }
    }

    /// Pulls an image, or waits for the pull of it that is under way. May be dropped.
    pub async fn pull(&self, wanted: Wanted) -> Outcome {
        let hashes = wanted.credentials.iter().map(|credential| credential.hash.clone()).collect();
        let key = (wanted.name.asked.clone(), hashes);
        let running = {
            let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, running| running.upgrade().is_some_and(|running| running.peek().is_none()));
            match all.get(&key).and_then(WeakShared::upgrade) {
                Some(running) => running,
                None => {
                    let running: Running = Arc::clone(&self.tools).run(wanted).boxed().shared();
                    all.extend(running.downgrade().map(|running| (key, running)));
                    running
                }
            }
        };
        running.await
    }
}

impl Tools {
    async fn run(self: Arc<Self>, wanted: Wanted) -> Outcome {
        let _lane = self.lanes.enter(wanted.place, wanted.name.registry()).await;
        let intent = self.records.intend(&wanted.shown).await.map_err(|error| {
            let what = "Failed to record image pull intent for container image";
            Refusal::new(&wanted.shown, &[format!("{what} {:?}: {}", wanted.shown, Chain(&error))])
        })?;
        let began = Instant::now();
        let nothing = [None];
        let some: Vec<Option<&Credential>> = wanted.credentials.iter().map(Some).collect();
        let tries = if some.is_empty() { &nothing[..] } else { &some };
        let (mut errors, mut is_over) = (Vec::new(), true);
        for credential in tries {
            match self.attempt(&wanted, *credential).await {
                Ok(id) => {
                    let took = began.elapsed();
                    let (known, size) = self.inspect(&wanted).await;
                    let known = known.unwrap_or_else(|| id.clone());
                    let now = self.clock.now().wall;
                    self.records.pulled(intent, &known, *credential, now).await;
                    return Ok(Pulled { id, size, took });
                }
                Err(failed) => {
                    is_over &= failed.is_over;
                    errors.push(failed.text);
                }
            }
        }
        if is_over {
            self.records.failed(intent).await;
        }
        Err(Refusal::new(&wanted.shown, &errors))
    }

    async fn attempt(&self, wanted: &Wanted, credential: Option<&Credential>) -> Result<String, Failed> {
        tokio::time::sleep(self.rate.take(Instant::now())).await;
        let auth = credential.map(|credential| AuthConfig {
            username: credential.login.username.clone(),
            password: credential.login.password.clone(),
            ..AuthConfig::default()
        });
        tokio::select! {
            biased;
            // A generated client call is some 30 KiB of state.
            answer = Box::pin(self.client.pull_image(wanted.spec(), auth, None)) => answer
                .map_err(|error| Failed { text: words::of(&error), is_over: error.is_definite() }),
            why = self.progress.watch(&wanted.name) => Err(Failed { text: why, is_over: false }),
        }
    }

    /// Id and size of what was pulled. Look-ups of images are by this id, which need not be what a pull answers.
    async fn inspect(&self, wanted: &Wanted) -> (Option<String>, u64) {
        match self.client.image_status(wanted.spec()).await {
            Ok(Some(image)) => (Some(image.id.to_string()), image.size),
            Ok(None) | Err(_) => (None, 0),
        }
    }
}

impl Wanted {
    fn spec(&self) -> ImageSpec {
        spec(&self.name, self.annotations.clone())
    }
}

/// An image as the runtime is asked for it.
#[must_use]
pub fn spec(name: &Name, annotations: BTreeMap<String, String>) -> ImageSpec {
    ImageSpec {
        image: name.asked.clone(),
        user_specified_image: name.asked.clone(),
        annotations,
        ..ImageSpec::default()
    }
}
