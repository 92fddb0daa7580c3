//! TLS settings: what is shown, what is spoken. The certificate and the authority of clients can be replaced while
//! connections are open.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite, version};

use super::trust::AnyHolder;

/// The protocols of the kubelet's server, the better first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The provider with the suites that are configured. All TLS 1.3 suites stay: they cannot be chosen, as in Go.
pub(super) fn provider(suites: Option<&[&'static str]>) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(named) = suites {
        let is_named = |suite: &SupportedCipherSuite| {
            suite.tls13().is_some() || suite.suite().as_str().is_some_and(|name| named.contains(&name))
        };
        provider.cipher_suites.retain(is_named);
    }
    provider
}

/// The certificate that is shown, until it is replaced.
#[derive(Debug)]
pub(super) struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    pub(super) fn new(pair: CertifiedKey) -> Self {
        Self(ArcSwap::from_pointee(pair))
    }

    pub(super) fn replace(&self, pair: CertifiedKey) {
        self.0.store(Arc::new(pair));
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// The settings of the server.
pub(super) fn settings(
    provider: Arc<CryptoProvider>,
    tls13_only: bool,
    shown: Arc<Shown>,
) -> Result<ServerConfig, rustls::Error> {
    let speaks_12 = provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
    let versions: &[&rustls::SupportedProtocolVersion] =
        if tls13_only || !speaks_12 { &[&version::TLS13] } else { &[&version::TLS13, &version::TLS12] };
    let holder = AnyHolder(provider.signature_verification_algorithms);
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let mut settings = builder.with_client_cert_verifier(Arc::new(holder)).with_cert_resolver(shown);
    settings.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(settings)
}
