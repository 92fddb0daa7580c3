//! The servers on real sockets in front of a fake agent, authorities made on the spot, and a client that says
//! exactly what a test wants it to say.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::disk::RealDisk;
use crate::server::fake::FakeViews;
use crate::supervise::{Supervision, Supervisor};

/// How long a condition may take on a busy machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// An authority of clients.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

/// A client certificate with its key, in PEM.
pub(super) type Credentials = (String, String);

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(super) fn client(&self, name: &str, groups: &[&str]) -> Credentials {
        self.issue(client(name, groups))
    }

    pub(super) fn expired(&self, name: &str, groups: &[&str]) -> Credentials {
        let mut params = client(name, groups);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Credentials {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn client(name: &str, groups: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A certificate that its holder signed.
pub(super) fn self_signed(name: &str, groups: &[&str]) -> Credentials {
    let key = KeyPair::generate().unwrap();
    (client(name, groups).self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Pods for `/pods`.
#[derive(Default)]
pub(super) struct FakePods(pub(super) Mutex<Vec<Pod>>);

impl Pods for FakePods {
    fn pods(&self) -> Vec<Pod> {
        self.0.lock().unwrap().clone()
    }
}

/// The servers, running.
pub(super) struct Rig {
    pub(super) views: Arc<FakeViews>,
    pub(super) pods: Arc<FakePods>,
    pub(super) ca: Authority,
    pub(super) listening: Listening,
    pub(super) dir: tempfile::TempDir,
    pub(super) stop: CancellationToken,
    supervision: Supervision,
}

/// An answer that is being read.
pub(super) struct Follower {
    stream: TlsStream<TcpStream>,
    told: Vec<u8>,
}

impl Follower {
    /// Whether more came.
    async fn read(&mut self) -> bool {
        let mut piece = [0; 4 << 10];
        let read = tokio::time::timeout(DEADLINE, self.stream.read(&mut piece)).await.expect("more in time");
        let read = read.unwrap_or(0);
        self.told.extend_from_slice(&piece[..read]);
        read > 0
    }

    fn body(&self) -> String {
        let told = String::from_utf8_lossy(&self.told);
        if told.contains("\r\n\r\n") { body(&told) } else { String::new() }
    }

    /// Reads until the body is this.
    pub(super) async fn until(&mut self, wanted: &str) {
        while self.body() != wanted {
            assert!(self.read().await, "wanted {wanted:?}, it ended with {:?}", self.body());
        }
    }

    /// Reads to the end.
    pub(super) async fn end(mut self) -> String {
        while self.read().await {}
        self.body()
    }
}

/// Configuration keys of a server on free ports.
pub(super) fn serving(dir: &Path, keys: Value) -> Serving {
    let file: crate::config::file::KubeletConfiguration = serde_json::from_value(keys).unwrap();
    let mut serving =
        crate::config::serving::serving(&file, &dir.join("pki"), true, &mut Vec::new()).unwrap();
    serving.address = "127.0.0.1:0".parse().unwrap();
    serving
}

pub(super) fn parts(dir: &Path, serving: Serving, views: Arc<FakeViews>, pods: Arc<FakePods>) -> Parts {
    Parts {
        serving: Some(serving),
        read_only: Some("127.0.0.1:0".parse().unwrap()),
        node: "node-1".to_owned(),
        ips: vec!["127.0.0.1".parse().unwrap()],
        configz: Bytes::from_static(b"{\"kubeletconfig\":{}}"),
        log_root: dir.join("logs"),
        views,
        pods,
        disk: Arc::new(RealDisk),
        clock: Clock::of_this_machine().unwrap(),
    }
}

impl Rig {
    /// With the authority of clients in place, and whatever else the keys say.
    pub(super) async fn new(mut keys: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        let ca = Authority::new("clients");
        let ca_file = dir.path().join("ca.crt");
        std::fs::write(&ca_file, &ca.pem).unwrap();
        keys["authentication"]["x509"] = json!({"clientCAFile": ca_file});
        let (views, pods) = (Arc::new(FakeViews::default()), Arc::new(FakePods::default()));
        let stop = CancellationToken::new();
        let (supervisor, supervision) = Supervisor::new(stop.clone());
        let parts = parts(dir.path(), serving(dir.path(), keys), views.clone(), pods.clone());
        let listening = start(parts, &supervisor).await.unwrap();
        Self { views, pods, ca, listening, dir, stop, supervision }
    }

    pub(super) async fn finish(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(5), self.supervision.wait()).await;
        ended.expect("the servers end within 5 s of stop").unwrap();
    }

    /// The API server's own credentials.
    pub(super) fn api_server(&self) -> Credentials {
        self.ca.client("kube-apiserver-kubelet-client", &["kubeadm:cluster-admins"])
    }

    /// Pod `default/NAME-node1` with a log of these lines, one second apart.
    pub(super) fn pod(&self, name: &str, lines: &[&str]) -> PathBuf {
        let directory = self.dir.path().join(format!("logs/default_{name}-node1_uid-{name}/main"));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("0.log");
        for (second, line) in lines.iter().enumerate() {
            append(&path, second, line);
        }
        self.views.add(name, Some(path.clone()));
        path
    }

    pub(super) fn https(&self) -> SocketAddr {
        self.listening.https.unwrap()
    }

    pub(super) fn settings(&self, credentials: Option<&Credentials>, alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.dir.path().join("pki/kubelet.crt")).unwrap()).unwrap();
        settings(roots, credentials, alpn)
    }

    pub(super) async fn connect(
        &self,
        credentials: Option<&Credentials>,
        alpn: &[&str],
    ) -> TlsStream<TcpStream> {
        connect(self.https(), self.settings(credentials, alpn)).await.unwrap()
    }

    /// What a request line and headers get from the HTTPS server: status code and the rest.
    pub(super) async fn ask(&self, credentials: Option<&Credentials>, request: &str) -> (u16, String) {
        let stream = self.connect(credentials, &["http/1.1"]).await;
        ask(stream, request).await
    }

    /// Asks as the API server, and leaves the answer to be read bit by bit.
    pub(super) async fn follow(&self, path: &str) -> Follower {
        let mut stream = self.connect(Some(&self.api_server()), &["http/1.1"]).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Follower { stream, told: Vec::new() }
    }

    pub(super) async fn get(&self, credentials: Option<&Credentials>, path: &str) -> (u16, String) {
        let (code, answer) = self.ask(credentials, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n")).await;
        (code, body(&answer))
    }
}

pub(super) fn settings(
    roots: RootCertStore,
    credentials: Option<&Credentials>,
    alpn: &[&str],
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut settings = match credentials {
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    settings.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    settings
}

pub(super) async fn connect(
    address: SocketAddr,
    settings: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(settings)).connect(ServerName::try_from("node-1").unwrap(), stream).await
}

/// Sends a head, less its empty line, and reads the whole answer.
pub(super) async fn ask<S>(mut stream: S, request: &str) -> (u16, String)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    // A peer that closes without a farewell is no error here.
    let _end = read.expect("an answer in time");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code =
        answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer to {request:?}")).parse().unwrap();
    (code, answer)
}

/// The body of an answer, its chunks put together.
pub(super) fn body(answer: &str) -> String {
    let (head, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return rest.to_owned();
    }
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        // The last piece may still be on its way.
        let Some((piece, after)) = after.split_at_checked(length) else { break };
        body.push_str(piece);
        rest = after.trim_start_matches("\r\n");
    }
    body
}

/// Waits until so many have a log open.
pub(super) async fn readers_of(path: &Path, wanted: usize) {
    let count = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        files.filter(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == path)).count()
    };
    let waited = async {
        while count() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waited).await;
    assert!(waited.is_ok(), "{} have the log open, wanted {wanted}", count());
}

/// Appends a line that was written at so many seconds after ten.
pub(super) fn append(path: &Path, second: usize, line: &str) {
    let at = "2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap();
    let at = at + jiff::SignedDuration::from_secs(i64::try_from(second).unwrap());
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(file, "{at} stdout F {line}").unwrap();
}
