//! How long a call to the API server may take, and when a failed one is tried again. Pure but for the waiting.

use std::time::Duration;

use crate::wait::doubled;

/// Deadline of a call that is no watch: a heartbeat that takes longer is worth nothing
/// (`nodeStatusUpdateFrequency` is the heartbeat client's timeout in `cmd/kubelet/app/server.go`).
pub const CALL: Duration = Duration::from_secs(10);

/// Delays after failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// After the first failure.
    pub first: Duration,
    /// The longest.
    pub cap: Duration,
}

impl Pace {
    /// Delay after so many failures in a row, doubling from the first.
    #[must_use]
    pub fn after(self, failures: u32) -> Duration {
        doubled(self.first, failures, self.cap)
    }
}

/// A call that was not answered in time.
#[derive(Debug, thiserror::Error)]
#[error("deadline has elapsed after {} s", .0.as_secs())]
struct Late(Duration);

/// The call, or the error that it was not answered within [`CALL`]. Cancelling drops the call: the server may still
/// have carried it out.
pub async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(Box::new(Late(CALL)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let pace = Pace { first: Duration::from_millis(100), cap: Duration::from_secs(7) };
        let delays: Vec<_> = [1, 2, 3, 7, 8, 1000].map(|failures| pace.after(failures).as_millis()).into();
        assert_eq!(delays, [100, 200, 400, 6400, 7000, 7000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_not_waited_for() {
        let error = within(std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert!(super::super::fault::explain(&error, "s").contains("does not answer"));
    }
}
