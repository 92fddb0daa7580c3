//! Keeps the server's certificate and the authority of clients as their files are.
//!
//! Owns the watch over the files. Woken every [`PERIOD`]. Writes the values that the listener reads. Ends with the
//! stop token. A file that cannot be used leaves what is in use, and is complained about once until it changes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::pair;
use super::tls::Shown;
use super::trust::Trust;

/// How often the files are looked at.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// What to keep, and where it comes from.
pub(super) struct Reload {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) shown: Arc<Shown>,
    pub(super) trust: Arc<Trust>,
    pub(super) seen: Seen,
}

/// How the files looked when they were read last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pair: [Option<Look>; 2],
    client_ca: Option<Look>,
}

/// Inode, length, and time of the last change, in seconds and nanoseconds.
type Look = (u64, u64, i64, i64);

impl Seen {
    /// How the files look now.
    pub(super) fn now(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Self {
        let look = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        };
        Self { pair: [look(certificate), look(key)], client_ca: client_ca.and_then(look) }
    }
}

impl Reload {
    /// Looks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut due = interval(PERIOD);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = due.tick() => {}
            }
            let pass = tokio::task::spawn_blocking(move || {
                self.pass();
                self
            });
            self = match pass.await {
                Ok(reload) => reload,
                Err(error) => {
                    // The server goes on with what it has; only the files are no longer looked at.
                    error!(%error, "the watch over certificates was lost");
                    return stop.cancelled().await;
                }
            };
        }
    }

    pub(super) fn pass(&mut self) {
        let now = Seen::now(&self.certificate, &self.key, self.client_ca.as_deref());
        if now.pair != self.seen.pair {
            match pair::load(&self.certificate, &self.key, &self.provider) {
                Ok(pair) => {
                    self.shown.replace(pair);
                    info!(certificate = %self.certificate.display(), "the serving certificate was replaced");
                }
                Err(error) => complain(&error),
            }
        }
        if let Some(path) = self.client_ca.as_ref().filter(|_| now.client_ca != self.seen.client_ca) {
            match trust(&self.trust, path, &self.provider) {
                Ok(()) => {
                    info!(file = %path.display(), "the certificate authorities of clients were replaced")
                }
                Err(error) => complain(error.as_ref()),
            }
        }
        self.seen = now;
    }
}

/// Reads the authorities of clients.
pub(super) fn trust(
    trust: &Trust,
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    trust.replace(pair::authorities(path)?, provider)?;
    Ok(())
}

fn complain(error: &(dyn std::error::Error + 'static)) {
    warn!(error = %crate::chain::Chain(error), "a certificate file changed and cannot be used; the old one stays");
}
