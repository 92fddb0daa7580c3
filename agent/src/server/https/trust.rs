//! Whose certificates count: the authority of `clientCAFile`.
//!
//! During the handshake every certificate is taken whose key the client can prove to have, whoever signed it: a
//! refusal there would be a broken connection, where the caller is owed a 401. Whether it counts is asked afterwards,
//! at each request, of the authority as it is then: a certificate that expires, or whose authority is taken out of
//! the file, counts no longer on connections that are open.
//!
//! What still ends in a broken handshake: a certificate that cannot be parsed, a key of a kind that the TLS library
//! does not know (such as P-521), and a client that cannot prove to have the key.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::identity::Caller;

/// The authority, which may be replaced while connections are open.
#[derive(Debug, Default)]
pub(super) struct Trust {
    verifier: ArcSwapOption<Verifier>,
}

#[derive(Debug)]
struct Verifier(Arc<dyn ClientCertVerifier>);

impl Trust {
    /// Replaces the authority.
    pub(super) fn replace(
        &self,
        authorities: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), TrustError> {
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
        let verifier = builder.build().map_err(TrustError)?;
        self.verifier.store(Some(Arc::new(Verifier(verifier))));
        Ok(())
    }

    /// Who the client is, if its certificate counts at this moment.
    pub(super) fn caller(&self, chain: &[CertificateDer<'_>]) -> Option<Caller> {
        let (own, others) = chain.split_first()?;
        let verifier = self.verifier.load();
        verifier.as_ref()?.0.verify_client_cert(own, others, UnixTime::now()).ok()?;
        Caller::of(own)
    }
}

/// The file names no authority that can be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to use the certificate authorities of clients")]
pub(super) struct TrustError(#[source] rustls::server::VerifierBuilderError);

/// Takes every certificate whose key the client has.
#[derive(Debug)]
pub(super) struct AnyHolder(pub(super) WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyHolder {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a client is not told whom to be, and sends what it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
