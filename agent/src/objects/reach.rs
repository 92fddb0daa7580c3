//! Whether the API server answers, as all who follow something see it together. While it does not, they try one after
//! the other; one answer lets all of them go. No I/O.

use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// Least time between two tries while nobody is answered: four a second, however many there are that would.
const GAP: Duration = Duration::from_millis(250);

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// How many answers anybody got.
    answers: watch::Sender<u64>,
    /// When somebody tried last. Whoever is next holds the lock while waiting: the lock is the line.
    tried: Mutex<Option<Instant>>,
}

impl Reach {
    /// Somebody was answered.
    pub(super) fn answered(&self) {
        self.answers.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// How many answers there were so far.
    pub(super) fn answers(&self) -> u64 {
        *self.answers.borrow()
    }

    /// Waits for one's turn to try again, or for the first answer to anybody after those that were `seen`. Cancel-safe:
    /// who is dropped leaves the line.
    pub(super) async fn turn(&self, seen: u64) {
        let mut answers = self.answers.subscribe();
        let turn = async {
            let mut tried = self.tried.lock().await;
            if let Some(last) = *tried {
                tokio::time::sleep_until(last + GAP).await;
            }
            *tried = Some(Instant::now());
        };
        tokio::select! {
            biased;
            // The sender is here: this ends with an answer only.
            _ = answers.wait_for(|count| *count != seen) => {}
            () = turn => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_come_one_after_the_other_and_an_answer_lets_all_go() {
        let (reach, began) = (Reach::default(), Instant::now());
        join_all((0..9).map(|_| reach.turn(0))).await;
        assert_eq!(began.elapsed(), GAP * 8);
        let waiting = join_all((0..300).map(|_| reach.turn(0)));
        let answer = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            reach.answered();
        };
        tokio::join!(waiting, answer);
        assert_eq!(began.elapsed(), GAP * 8 + Duration::from_secs(1));
        // Who has seen that answer waits for another; nobody is in the way of the next.
        reach.turn(reach.answers()).await;
        assert!(reach.turn(reach.answers()).now_or_never().is_none());
        assert!(reach.turn(0).now_or_never().is_some());
    }
}
