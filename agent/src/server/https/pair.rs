//! Certificates and keys on disk: read, and the server's own made where nobody gave one.
//!
//! The key is written with mode 0600 before its certificate. A pair that is there is used again, as the kubelet does,
//! unless it cannot be read, names another host or ends soon: then it is made anew.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use nix::libc;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Largest file that is read. Bundles of authorities have a few hundred kilobytes.
const MAX_FILE: u64 = 4 << 20;
/// Life of a certificate that is made here, in days, as the kubelet's (`k8s.io/client-go/util/cert`).
const LIFE: i64 = 365;
/// A certificate of our own that ends within so many days is made anew at start.
const RENEW: i64 = 30;

/// What is wrong with a certificate or key.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("failed to find {what} in {}", path.display())]
    Content {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Option<rustls::pki_types::pem::Error>,
    },
    /// Certificate and key are not a pair, or of a kind that is not spoken here.
    #[error("failed to use the certificate {}", path.display())]
    Use {
        /// The certificate.
        path: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// A pair of our own cannot be made.
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
    /// A file cannot be written.
    #[error("failed to write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Whom a certificate of our own names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) ips: Vec<IpAddr>,
}

/// Reads a certificate chain and its key.
pub(super) fn load(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, PairError> {
    let chain = certificates(certificate)?;
    let text = read(key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|source| PairError::Content {
        what: "a private key",
        path: key.to_owned(),
        source: Some(source),
    })?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|source| PairError::Use { path: certificate.to_owned(), source })
}

/// Reads a bundle of authorities. Those that cannot be used are passed over, as Go does, unless none is left.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, PairError> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(PairError::Content {
            what: "a certificate authority",
            path: path.to_owned(),
            source: None,
        });
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let text = read(path)?;
    let wrong = |source| PairError::Content { what: "certificates", path: path.to_owned(), source };
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| wrong(Some(error)))?;
    if chain.is_empty() { Err(wrong(None)) } else { Ok(chain) }
}

fn read(path: &Path) -> Result<Vec<u8>, PairError> {
    let failed = |source| PairError::Read { path: path.to_owned(), source };
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// The pair of our own in a directory: the one that is there if it will do, else a new one.
pub(super) fn own(
    certificate: &Path,
    key: &Path,
    subject: &Subject,
    now: Timestamp,
    provider: &Arc<CryptoProvider>,
) -> Result<CertifiedKey, PairError> {
    if let Ok(pair) = load(certificate, key, provider)
        && pair.cert.first().is_some_and(|own| will_do(own, subject, now))
    {
        return Ok(pair);
    }
    let (chain, secret) = make(subject, now)?;
    write(key, secret.as_bytes(), 0o600)?;
    write(certificate, chain.as_bytes(), 0o644)?;
    load(certificate, key, provider)
}

/// Whether a certificate names the subject and lasts.
fn will_do(certificate: &CertificateDer<'_>, subject: &Subject, now: Timestamp) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let lasts = parsed.validity().not_after.timestamp() > days(now, RENEW).as_second();
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let has_name =
        names.iter().any(|name| matches!(name, GeneralName::DNSName(name) if *name == subject.name));
    let has_ip = |ip: &IpAddr| {
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        names.iter().any(|name| matches!(name, GeneralName::IPAddress(found) if *found == octets))
    };
    let is_ip = subject.name.parse().is_ok_and(|ip| has_ip(&ip));
    lasts && (has_name || is_ip) && subject.ips.iter().all(has_ip)
}

fn days(now: Timestamp, days: i64) -> Timestamp {
    now.checked_add((days.saturating_mul(24)).hours()).unwrap_or(now)
}

/// A new certificate and its key, in PEM.
fn make(subject: &Subject, now: Timestamp) -> Result<(String, String), PairError> {
    let key = KeyPair::generate()?;
    let mut names = vec![subject.name.clone()];
    names.extend(subject.ips.iter().map(ToString::to_string));
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, format!("{}@{}", subject.name, now.as_second()));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // A day early, for clients whose clock is late.
    let (from, to) = (date(days(now, -1)), date(days(now, LIFE)));
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(to.0, to.1, to.2);
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Year, month and day, as `rcgen` wants them.
fn date(at: Timestamp) -> (i32, u8, u8) {
    let date = jiff::tz::TimeZone::UTC.to_datetime(at).date();
    (i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PairError> {
    let failed = |source| PairError::Write { path: path.to_owned(), source };
    let temporary = path.with_extension("pinnace-tmp");
    if let Err(error) = std::fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(&temporary).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Rig {
        dir: tempfile::TempDir,
        provider: Arc<CryptoProvider>,
        now: Timestamp,
    }

    impl Rig {
        fn new() -> Self {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let now = "2026-11-21T10:00:00Z".parse().unwrap();
            Self { dir: tempfile::tempdir().unwrap(), provider, now }
        }

        fn paths(&self) -> (PathBuf, PathBuf) {
            (self.dir.path().join("kubelet.crt"), self.dir.path().join("kubelet.key"))
        }

        fn own(&self, name: &str, ips: &[&str], in_days: i64) -> Vec<u8> {
            let (certificate, key) = self.paths();
            let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            let subject = Subject { name: name.to_owned(), ips };
            let pair = own(&certificate, &key, &subject, days(self.now, in_days), &self.provider).unwrap();
            pair.cert[0].to_vec()
        }
    }

    #[test]
    fn a_pair_is_made_once_and_used_again_while_it_will_do() {
        let rig = Rig::new();
        let first = rig.own("node-1", &["10.0.0.1", "fd00::1"], 0);
        assert_eq!(rig.own("node-1", &["10.0.0.1"], 300), first);
        assert_ne!(rig.own("node-1", &["10.0.0.1"], 336), first, "29 days are left");
        let second = rig.own("node-1", &[], 336);
        assert_ne!(rig.own("node-2", &[], 336), second);
        let third = rig.own("node-2", &[], 336);
        assert_ne!(rig.own("node-2", &["10.0.0.2"], 336), third);
    }

    #[test]
    fn the_key_is_for_its_owner_only_and_damage_is_mended() {
        let rig = Rig::new();
        let first = rig.own("node-1", &[], 0);
        let (certificate, key) = rig.paths();
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&certificate, "torn").unwrap();
        let second = rig.own("node-1", &[], 0);
        assert_ne!(second, first);
        std::fs::remove_file(&key).unwrap();
        assert_ne!(rig.own("node-1", &[], 0), second);
    }

    #[test]
    fn what_is_wrong_names_the_file() {
        let rig = Rig::new();
        let path = rig.dir.path().join("ca.crt");
        assert!(authorities(&path).unwrap_err().to_string().starts_with("failed to read /"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(authorities(&path).unwrap_err().to_string().starts_with("failed to find certificates in /"));
        rig.own("node-1", &[], 0);
        let other = Rig::new();
        other.own("node-1", &[], 0);
        let error = load(&rig.paths().0, &other.paths().1, &rig.provider).unwrap_err();
        assert!(error.to_string().starts_with("failed to use the certificate /"), "{error}");
    }
}
