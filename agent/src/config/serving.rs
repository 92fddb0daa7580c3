//! What the HTTPS server is told: where it listens, what it shows, whom it answers. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::file::KubeletConfiguration;

/// Port of the kubelet's HTTPS server (`pkg/cluster/ports/ports.go`).
const DEFAULT_PORT: u16 = 10_250;
/// TLS 1.2 suites as Go names them, with the older names of two of them.
const SUITES: [(&str, &str); 8] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Where the server's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Two files that somebody else keeps, absolute.
    Files {
        /// Certificate chain, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
    /// `kubelet.crt` and `kubelet.key` in this directory, made if they are not there.
    SelfSigned(PathBuf),
}

/// What the HTTPS server is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it shows.
    pub certificate: Certificate,
    /// TLS 1.2 is not spoken.
    pub tls13_only: bool,
    /// TLS 1.2 suites by their IANA names; none means all that there are.
    pub suites: Option<Vec<&'static str>>,
    /// Certificate authorities of clients, PEM. Without one nobody is let in.
    pub client_ca: Option<PathBuf>,
    /// Everybody is let in: the configuration says that anonymous callers are, and that every call is allowed.
    pub open_to_all: bool,
    /// Exec, logs and the like are served.
    pub debugging: bool,
}

/// A field and what is wrong with it.
pub type Fault = (&'static str, String);

/// What the HTTPS server is told, none if it is switched off. An instance beside the default one gets a port only
/// if it is given one.
pub fn serving(
    file: &KubeletConfiguration,
    cert_dir: &Path,
    is_default_instance: bool,
    faults: &mut Vec<Fault>,
) -> Option<Serving> {
    if file.enable_server == Some(false) {
        return None;
    }
    let default_port = if is_default_instance { DEFAULT_PORT } else { 0 };
    let port = port(file.port).unwrap_or(default_port);
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let address = file.address.as_deref().and_then(|text| text.parse().ok()).unwrap_or(everywhere);
    let authentication = file.authentication.clone().unwrap_or_default();
    let client_ca = authentication.x509.and_then(|x509| path(&x509.client_ca_file));
    let anonymous = authentication.anonymous.and_then(|anonymous| anonymous.enabled) == Some(true);
    let mode = mode(file, faults);
    let serving = Serving {
        address: SocketAddr::new(address, port),
        certificate: certificate(file, cert_dir, faults),
        tls13_only: tls13_only(file, faults),
        suites: suites(file, faults),
        client_ca,
        open_to_all: anonymous && mode == Mode::AlwaysAllow,
        debugging: file.enable_debugging_handlers.unwrap_or(true),
    };
    (port > 0).then_some(serving)
}

/// Where the read-only server listens, if it is switched on: this machine only, whatever `address` says.
#[must_use]
pub fn read_only(file: &KubeletConfiguration) -> Option<SocketAddr> {
    port(file.read_only_port).map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Webhook,
    AlwaysAllow,
}

fn port(configured: Option<i32>) -> Option<u16> {
    configured.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

fn path(text: &Option<String>) -> Option<PathBuf> {
    text.as_deref().filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn mode(file: &KubeletConfiguration, faults: &mut Vec<Fault>) -> Mode {
    match file.authorization.as_ref().and_then(|section| section.mode.as_deref()) {
        None | Some("" | "Webhook") => Mode::Webhook,
        Some("AlwaysAllow") => Mode::AlwaysAllow,
        Some(other) => {
            let reason = format!("must be Webhook or AlwaysAllow, is {other:?}");
            faults.push(("authorization.mode", reason));
            Mode::Webhook
        }
    }
}

fn certificate(file: &KubeletConfiguration, cert_dir: &Path, faults: &mut Vec<Fault>) -> Certificate {
    match (path(&file.tls_cert_file), path(&file.tls_private_key_file)) {
        (Some(certificate), Some(key)) => Certificate::Files { certificate, key },
        (None, None) => Certificate::SelfSigned(cert_dir.to_owned()),
        (Some(_), None) => {
            faults.push(("tlsPrivateKeyFile", "must be set beside tlsCertFile".to_owned()));
            Certificate::SelfSigned(cert_dir.to_owned())
        }
        (None, Some(_)) => {
            faults.push(("tlsCertFile", "must be set beside tlsPrivateKeyFile".to_owned()));
            Certificate::SelfSigned(cert_dir.to_owned())
        }
    }
}

/// Versions below 1.2 may be named: 1.2 is above them, and the lowest that is spoken here.
fn tls13_only(file: &KubeletConfiguration, faults: &mut Vec<Fault>) -> bool {
    match file.tls_min_version.as_deref() {
        None | Some("" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12") => false,
        Some("VersionTLS13") => true,
        Some(other) => {
            let reason = format!("must be VersionTLS12 or VersionTLS13, is {other:?}");
            faults.push(("tlsMinVersion", reason));
            false
        }
    }
}

/// Those of the named suites that are spoken here. The suites of TLS 1.3 cannot be chosen, as in Go.
fn suites(file: &KubeletConfiguration, faults: &mut Vec<Fault>) -> Option<Vec<&'static str>> {
    let named = file.tls_cipher_suites.as_ref().filter(|named| !named.is_empty())?;
    for name in named.iter().filter(|name| !name.starts_with("TLS_")) {
        faults.push((
            "tlsCipherSuites",
            format!("must name cipher suites such as {}, is {name:?}", SUITES[0].0),
        ));
    }
    let spoken = |name: &String| SUITES.iter().find(|(known, _)| known == name).map(|(_, iana)| *iana);
    Some(named.iter().filter_map(spoken).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(file: Value) -> (Option<Serving>, Vec<Fault>) {
        let file: KubeletConfiguration = serde_json::from_value(file).unwrap();
        let mut faults = Vec::new();
        (serving(&file, Path::new("/pki"), true, &mut faults), faults)
    }

    #[test]
    fn without_a_word_the_server_is_on_and_closed() {
        let wanted = Serving {
            address: "0.0.0.0:10250".parse().unwrap(),
            certificate: Certificate::SelfSigned("/pki".into()),
            tls13_only: false,
            suites: None,
            client_ca: None,
            open_to_all: false,
            debugging: true,
        };
        assert_eq!(told(json!({})), (Some(wanted), Vec::new()));
        assert_eq!(told(json!({"enableServer": false})).0, None);
        let beside = serving(&KubeletConfiguration::default(), Path::new("/pki"), false, &mut Vec::new());
        assert_eq!(beside, None, "an instance beside the default one needs a port of its own");
    }

    #[test]
    fn a02_it_is_open_only_if_both_keys_say_so() {
        let open = |anonymous: Value, mode: Value| {
            let file = json!({"authentication": {"anonymous": anonymous}, "authorization": {"mode": mode}});
            told(file).0.unwrap().open_to_all
        };
        assert!(open(json!({"enabled": true}), json!("AlwaysAllow")));
        assert!(!open(json!({"enabled": true}), json!("Webhook")));
        assert!(!open(json!({"enabled": true}), json!(null)));
        assert!(!open(json!({"enabled": false}), json!("AlwaysAllow")));
        assert!(!open(json!(null), json!("AlwaysAllow")));
    }

    #[test]
    fn tls_settings_are_read() {
        let (serving, faults) = told(json!({
            "tlsCertFile": "/c", "tlsPrivateKeyFile": "/k", "tlsMinVersion": "VersionTLS13", "address": "::1",
            "port": 1, "tlsCipherSuites": ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_RSA_WITH_RC4_128_SHA"],
        }));
        let serving = serving.unwrap();
        assert_eq!(serving.address, "[::1]:1".parse().unwrap());
        assert_eq!(serving.certificate, Certificate::Files { certificate: "/c".into(), key: "/k".into() });
        assert_eq!(serving.suites, Some(vec!["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]));
        assert!(serving.tls13_only && faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fault = |file| told(file).1.first().map(|(field, _)| *field);
        assert_eq!(fault(json!({"tlsCertFile": "/c"})), Some("tlsPrivateKeyFile"));
        assert_eq!(fault(json!({"tlsPrivateKeyFile": "/k"})), Some("tlsCertFile"));
        assert_eq!(fault(json!({"tlsMinVersion": "1.2"})), Some("tlsMinVersion"));
        assert_eq!(fault(json!({"tlsCipherSuites": ["AES"]})), Some("tlsCipherSuites"));
        assert_eq!(fault(json!({"authorization": {"mode": "RBAC"}})), Some("authorization.mode"));
    }

    #[test]
    fn a03_the_read_only_port_is_this_machines_own() {
        let at = |file: Value| read_only(&serde_json::from_value(file).unwrap());
        assert_eq!(at(json!({})), None);
        assert_eq!(at(json!({"readOnlyPort": 0})), None);
        let file = json!({"readOnlyPort": 10255, "address": "0.0.0.0"});
        assert_eq!(at(file), Some("127.0.0.1:10255".parse().unwrap()));
    }
}
