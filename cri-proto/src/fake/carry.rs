//! Carries one call from its arrival to its answer: logs it, lets it suffer its faults, does its work.
//!
//! The work runs in a task of its own, as in a real runtime: a client that goes away does not undo or stop it.

use std::future::Future;

use tonic::{Response, Status};

use super::Fake;
use super::calls::Outcome;
use super::fault::{Distort, Lose, Plan};
use super::select::Subject;
use crate::call::Call;

/// A call that is being carried; logs it as abandoned if it is dropped before its end.
pub(super) struct Carried {
    fake: Fake,
    seq: u64,
    call: Call,
    plan: Plan,
    ended: bool,
}

impl Drop for Carried {
    fn drop(&mut self) {
        if !self.ended {
            self.fake.inner.calls.end(self.seq, Outcome::Abandoned);
        }
    }
}

impl Fake {
    /// Logs the arrival of a call and draws its faults.
    pub(super) fn begin(&self, call: Call, subject: Subject, request: String) -> Carried {
        let plan = self.inner.faults.plan(call, &subject, tokio::time::Instant::now());
        let seq = self.inner.calls.begin(call, subject, request);
        Carried { fake: self.clone(), seq, call, plan, ended: false }
    }
}

impl Carried {
    /// What its answer has to suffer.
    pub(super) fn distort(&self) -> Distort {
        self.plan.distort.clone()
    }

    /// Does `work` between the faults, and gives the answer.
    pub(super) async fn run<T, F>(mut self, work: F) -> Result<Response<T>, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send + 'static,
    {
        let result = self.suffer(work).await;
        self.ended = true;
        let outcome = match &result {
            Ok(_) => Outcome::Answered,
            Err(status) => Outcome::Failed(status.code(), status.message().to_owned()),
        };
        self.fake.inner.calls.end(self.seq, outcome);
        result.map(Response::new)
    }

    async fn suffer<T, F>(&mut self, work: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send + 'static,
    {
        for hang in &self.plan.hangs {
            hang.cancelled().await;
        }
        let delay = self.plan.delay;
        if let Some(error) = self.plan.error.take() {
            pause(delay).await;
            return Err(error);
        }
        let (fake, seq) = (self.fake.clone(), self.seq);
        let task = self.fake.spawn(async move {
            pause(delay).await;
            let result = work.await;
            if result.is_ok() {
                fake.inner.calls.took_effect(seq);
            }
            result
        });
        let result = task.await.unwrap_or_else(|error| Err(Status::internal(error.to_string())));
        match self.plan.lose.take().filter(|_| result.is_ok()) {
            None => result,
            Some((Lose::Code(code), _)) => Err(Status::new(code, self.lost())),
            Some((Lose::Hang, removed)) => {
                removed.cancelled().await;
                Err(Status::unavailable(self.lost()))
            }
        }
    }

    fn lost(&self) -> String {
        format!("the answer of {} was lost", self.call)
    }
}

/// Does not even yield when there is nothing to wait for: a timer takes at least a millisecond.
async fn pause(delay: std::time::Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
