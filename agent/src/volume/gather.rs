//! Gets what a pod's volumes are made from: ConfigMaps, Secrets, tokens, bundles of certificates. Everything at once,
//! each thing once. Writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{join_all, join3};

use crate::clock::Clock;
use crate::disk::contents::Opaque;
use crate::objects::{Data, FetchError, Objects, Reference, told};
use crate::source::desired::DesiredPod;
use crate::volume::live::{Live, Work, key};
use crate::volume::payload::Gathered;
use crate::volume::plan::{Rendered, TokenSource};
use crate::volume::set_up::Mode;
use crate::volume::token::{Need, Token};

/// Where to get it from, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gatherer<'a> {
    pub(super) objects: &'a Objects,
    pub(super) clock: &'a Clock,
    pub(super) live: &'a Live,
    pub(super) pod: &'a DesiredPod,
    pub(super) mode: Mode,
}

/// A token to write.
#[derive(Debug)]
struct Got {
    token: Token,
    /// Why it is not the new one that was due.
    kept: Option<String>,
}

impl Gatherer<'_> {
    /// Gets everything, and remembers what a later renewal may fall back on.
    pub(super) async fn gather(self, work: &mut Work, volumes: &[&Rendered]) -> Gathered {
        let known = &*work;
        let tokens = volumes.iter().flat_map(|volume| {
            volume.tokens().map(move |source| async move {
                let key = key(volume, source);
                (self.token(known.tokens.get(&key), source).await, key)
            })
        });
        let objects = self.references(volumes).into_iter().map(|(reference, needed)| async move {
            (self.object(known.objects.get(&reference), &reference, needed).await, reference)
        });
        let bundles = async {
            match volumes.iter().any(|volume| volume.shows_bundles()) {
                true => Some(self.objects.bundles().await.map_err(|error| told(&error))),
                false => None,
            }
        };
        let (tokens, objects, bundles) = join3(join_all(tokens), join_all(objects), bundles).await;
        let mut gathered = Gathered::default();
        for (result, key) in tokens {
            let bytes = result.map(|got| {
                let bytes = got.token.bytes.clone();
                work.tokens.insert(key.clone(), got.token);
                work.kept.extend(got.kept);
                bytes
            });
            gathered.tokens.insert(key, bytes);
        }
        for (result, reference) in objects {
            match &result {
                Ok(Some(object)) => drop(work.objects.insert(reference.clone(), object.clone())),
                Ok(None) => drop(work.objects.remove(&reference)),
                Err(_) => {}
            }
            gathered.objects.insert(reference, result);
        }
        gathered.bundles = bundles;
        gathered
    }

    /// The objects, and whether a volume cannot be without.
    fn references(self, volumes: &[&Rendered]) -> BTreeMap<Reference, bool> {
        let mut all = BTreeMap::new();
        for source in volumes.iter().flat_map(|volume| volume.objects()) {
            *all.entry(source.reference(&self.pod.namespace)).or_insert(false) |= !source.optional;
        }
        all
    }

    /// The token that is there while it is good, else a new one; while none is to be had, the old one while it is valid.
    async fn token(self, known: Option<&Token>, source: &TokenSource) -> Result<Got, String> {
        let need = known.map(|token| (token, token.need(&self.clock.now(), self.live.jitter())));
        if let Some((token, Need::Nothing(_))) = need {
            return Ok(Got { token: token.clone(), kept: None });
        }
        match (self.request(source).await, need) {
            (Ok((bytes, seconds)), _) => {
                Ok(Got { token: Token::received(bytes, seconds, &self.clock.now()), kept: None })
            }
            (Err(error), Some((token, Need::Renewal))) => {
                let why = format!("failed to fetch token: {}; the old one is used on", told(&error));
                Ok(Got { token: token.clone(), kept: Some(why) })
            }
            (Err(error), _) => Err(format!("failed to fetch token: {}", told(&error))),
        }
    }

    async fn request(self, source: &TokenSource) -> Result<(Opaque, Option<i64>), FetchError> {
        self.objects.fetch()?.token(self.pod, source).await
    }

    /// The object as it is now. A pod that runs keeps the last known one when it is gone or cannot be asked for.
    async fn object(
        self,
        last: Option<&Arc<Data>>,
        reference: &Reference,
        needed: bool,
    ) -> Result<Option<Arc<Data>>, String> {
        let last = last.filter(|_| self.mode == Mode::Renew);
        match (self.objects.get(reference).await, last) {
            (Ok(None), Some(last)) if needed => Ok(Some(last.clone())),
            (Ok(object), _) => Ok(object),
            (Err(_), Some(last)) => Ok(Some(last.clone())),
            (Err(error), None) => {
                Err(format!("failed to get {} {:?}: {}", reference.kind.word(), reference.name, told(&error)))
            }
        }
    }
}
