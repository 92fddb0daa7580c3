//! What the runtime says of itself, as admission reads it. One loop: owns nothing else, woken by the node and by the
//! runtime's state, writes [`Place`], ends with the stop token. A runtime that falls silent keeps its last word.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::pod::admit::Place;
use crate::runtime::watch::{RuntimeState, Said};
use crate::supervise::Supervisor;

/// Starts the loop and gives the reader's end.
#[must_use]
pub fn keep(
    place: watch::Receiver<Arc<Place>>,
    runtime: watch::Receiver<RuntimeState>,
    supervisor: &Supervisor,
) -> watch::Receiver<Arc<Place>> {
    let first = with(&place.borrow(), None, runtime.borrow().said.as_ref());
    let (out, reader) = watch::channel(Arc::new(first));
    supervisor.spawn_core("runtime's features", run(place, runtime, out, supervisor.stop_token()));
    reader
}

/// The node with the runtime's word, or with the one before if there is none. Pure.
fn with(place: &Place, before: Option<bool>, said: Option<&Said>) -> Place {
    // A runtime that tells no features is one that came before this one.
    let strict = said.map(|said| said.supplemental_groups_policy.unwrap_or(false));
    Place { strict_groups: strict.or(before), ..place.clone() }
}

async fn run(
    mut place: watch::Receiver<Arc<Place>>,
    mut runtime: watch::Receiver<RuntimeState>,
    out: watch::Sender<Arc<Place>>,
    stop: CancellationToken,
) {
    // Who tells of the node may have nothing more to tell.
    let mut is_told = true;
    loop {
        let before = out.borrow().strict_groups;
        let new = with(&place.borrow_and_update(), before, runtime.borrow_and_update().said.as_ref());
        out.send_if_modified(|last| {
            let changed = **last != new;
            if changed {
                *last = Arc::new(new);
            }
            changed
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = place.changed(), if is_told => is_told = changed.is_ok(),
            changed = runtime.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(strict: Option<bool>) -> Said {
        Said { supplemental_groups_policy: strict, ..Said::default() }
    }

    #[test]
    fn nothing_is_known_before_the_runtime_has_spoken() {
        let place = Place::bare("n", 1);
        let strict = |before, said: Option<Said>| with(&place, before, said.as_ref()).strict_groups;
        assert_eq!(strict(None, None), None);
        assert_eq!(strict(None, Some(said(Some(true)))), Some(true));
        assert_eq!(strict(None, Some(said(None))), Some(false));
        assert_eq!(strict(Some(true), None), Some(true));
        assert_eq!(strict(Some(true), Some(said(Some(false)))), Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn both_words_reach_admission() {
        let (node, node_reader) = watch::channel(Arc::new(Place::bare("n", 1)));
        let (runtime, runtime_reader) = watch::channel(RuntimeState::default());
        let (out, mut reader) = watch::channel(Arc::new(Place::bare("n", 1)));
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(run(node_reader, runtime_reader, out, stop.clone()));
        runtime.send_modify(|state| state.said = Some(said(Some(true))));
        reader.wait_for(|place| place.strict_groups == Some(true)).await.unwrap();
        node.send_modify(|place| Arc::make_mut(place).name = "m".to_owned());
        reader.wait_for(|place| place.name == "m" && place.strict_groups == Some(true)).await.unwrap();
        drop(node);
        runtime.send_modify(|state| state.said = None);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(reader.borrow().strict_groups, Some(true));
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }
}
