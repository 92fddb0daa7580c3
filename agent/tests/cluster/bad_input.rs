//! Credentials and names that are wrong: said clearly, tried again, and pods go on meanwhile.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection};
use serde_json::{Value, json};

use crate::admin::is_ready;
use crate::case::{Case, SOON, WAIT, pod};
use crate::control_plane::ControlPlane;
use crate::witness::Witness;

/// A wrong kubeconfig is said within this time.
const SAID: Duration = Duration::from_secs(10);

/// A line of a kubeconfig with another value; `None` leaves the line out.
fn with(kubeconfig: &str, key: &str, value: Option<&str>) -> String {
    let mut lines = String::new();
    for line in kubeconfig.lines() {
        let indent = line.len() - line.trim_start().len();
        match (line.trim_start().starts_with(&format!("{key}:")), value) {
            (false, _) => lines += line,
            (true, Some(value)) => lines += &format!("{}{key}: {value}", &line[..indent]),
            (true, None) => continue,
        }
        lines.push('\n');
    }
    assert_ne!(lines, kubeconfig, "the kubeconfig has {key}");
    lines
}

/// The agent starts with a wrong kubeconfig: its static pod runs, the log says `words`, and with the right one it
/// becomes a node.
fn refused_then_corrected(
    cluster: &ControlPlane,
    name: &str,
    wrong: impl Fn(&Case<'_>, &str) -> String,
    words: &[&str],
) {
    let mut case = Case::prepared("debian", cluster, name);
    let right = case.agent.kubeconfig();
    case.agent.set_kubeconfig(&wrong(&case, &right));
    static_pod_and_words(&mut case, words);
    case.agent.set_kubeconfig(&right);
    corrected(&case);
}

fn static_pod_and_words(case: &mut Case<'_>, words: &[&str]) {
    let mut manifest = pod("static", "Always", WAIT);
    manifest["metadata"]["namespace"] = case.namespace.name.as_str().into();
    case.agent.put_static(&manifest);
    let began = Instant::now();
    case.agent.launch();
    for word in words {
        case.agent.until(&format!("{word:?} in the log"), began, SAID, || {
            if case.agent.log().contains(word) { Ok(()) } else { Err("not there".to_owned()) }
        });
    }
    case.agent.until("the static pod runs", began, SOON, || {
        if running(case).is_some() { Ok(()) } else { Err("it does not".to_owned()) }
    });
}

fn running(case: &Case<'_>) -> Option<String> {
    let listed = case.agent.runtime.containers(&case.agent.name);
    let running = listed.iter().find(|container| container["state"] == "CONTAINER_RUNNING");
    running.and_then(|container| container["id"].as_str().map(str::to_owned))
}

/// The node becomes Ready, its static pod is told to the API, and is the same container.
fn corrected(case: &Case<'_>) {
    let container = running(case);
    case.until_node_ready(Instant::now(), SOON);
    let mirror = |pods: &[Value]| pods.iter().any(is_ready).then_some(());
    case.until_pods("a mirror pod that is Ready", Instant::now(), mirror);
    assert_eq!(running(case), container, "{}", case.agent.describe());
    let lines =
        case.agent.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    assert!(lines < 30, "one line per cause and not per try: {lines}\n{}", case.agent.describe());
}

pub(crate) fn a_wrong_authority_is_named(cluster: &ControlPlane) {
    let wrong = |_: &Case<'_>, right: &str| {
        let key = KeyPair::generate().unwrap();
        let other = CertificateParams::default().self_signed(&key).unwrap().pem();
        with(right, "certificate-authority-data", Some(&STANDARD.encode(other)))
    };
    let words = ["failed to register the node", "not signed by the kubeconfig's certificate-authority"];
    refused_then_corrected(cluster, "authority", wrong, &words);
}

pub(crate) fn an_expired_certificate_is_named(cluster: &ControlPlane) {
    let wrong = |case: &Case<'_>, right: &str| {
        let (certificate, key) = expired(cluster, &case.agent.name);
        let wrong = with(right, "client-certificate-data", Some(&STANDARD.encode(certificate)));
        with(&wrong, "client-key-data", Some(&STANDARD.encode(key)))
    };
    refused_then_corrected(cluster, "expired", wrong, &["expired", "does not accept the node's credentials"]);
}

fn name(entries: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in entries {
        name.push(kind.clone(), *value);
    }
    name
}

/// The cluster's authority, to sign by.
fn authority(cluster: &ControlPlane) -> Issuer<'static, KeyPair> {
    let key = std::fs::read_to_string(cluster.status("ca_key")).unwrap();
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = name(&[(DnType::CommonName, "pinnace-dev")]);
    Issuer::new(issuer, KeyPair::from_pem(&key).unwrap())
}

/// A client certificate of the node that the cluster's authority signed for a day long ago, and its key.
fn expired(cluster: &ControlPlane, node: &str) -> (String, String) {
    let issuer = authority(cluster);
    let mut params = CertificateParams::default();
    let user = format!("system:node:{node}");
    params.distinguished_name =
        name(&[(DnType::OrganizationName, "system:nodes"), (DnType::CommonName, &user)]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A server of the cluster's authority as a machine sees it whose clock is off: its certificate counts from `start` to
/// `end`, in hours from now. It is there until the test ends.
fn seen_with_a_wrong_clock(cluster: &ControlPlane, start: i64, end: i64) -> String {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let at = |hours: i64| {
        let by = Duration::from_secs(hours.unsigned_abs() * 3600);
        if hours < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    };
    (params.not_before, params.not_after) = (at(start).into(), at(end).into());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority(cluster)).unwrap();
    let secret = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let settings = settings.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], secret);
    let settings = Arc::new(settings.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = ServerConnection::new(Arc::clone(&settings)).unwrap();
            // The agent refuses the certificate, which ends it.
            let _refused = tls.complete_io(&mut stream);
        }
    });
    format!("https://{address}")
}

pub(crate) fn a_clock_that_is_an_hour_off_is_named(cluster: &ControlPlane) {
    let mut case = Case::prepared("debian", cluster, "clock");
    let right = case.agent.kubeconfig();
    let slow = seen_with_a_wrong_clock(cluster, 1, 48);
    case.agent.set_kubeconfig(&with(&right, "server", Some(&slow)));
    static_pod_and_words(&mut case, &["not valid yet: is this machine's clock right?"]);
    let container = running(&case);
    let fast = seen_with_a_wrong_clock(cluster, -48, -1);
    case.agent.set_kubeconfig(&with(&right, "server", Some(&fast)));
    let (began, word) = (Instant::now(), "has expired, unless this machine's clock is wrong");
    case.agent.until(word, began, SOON, || {
        if case.agent.log().contains(word) { Ok(()) } else { Err("not in the log".to_owned()) }
    });
    assert_eq!(running(&case), container, "{}", case.agent.describe());
    case.agent.set_kubeconfig(&right);
    corrected(&case);
}

pub(crate) fn a_kubeconfig_without_a_server_is_named(cluster: &ControlPlane) {
    let wrong = |_: &Case<'_>, right: &str| with(right, "server", None);
    refused_then_corrected(cluster, "serverless", wrong, &["kubeconfig", "server"]);
}

pub(crate) fn a_node_of_another_machine_is_not_taken(cluster: &ControlPlane) {
    let mut case = Case::prepared("debian", cluster, "stolen");
    let node = case.agent.name.clone();
    let other = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": node },
        "status": { "nodeInfo": {
            "machineID": "0123456789abcdef0123456789abcdef", "systemUUID": "01234567-89ab-cdef-0123-456789abcdef",
            "bootID": "b", "kernelVersion": "k", "osImage": "o", "containerRuntimeVersion": "containerd://1",
            "kubeletVersion": "v1.36.3", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
        } },
    });
    cluster.create(&format!("node:{node}"), &other).unwrap();
    let there = case.admin.node(&node).unwrap();
    static_pod_and_words(&mut case, &["is another machine", "0123456789abcdef0123456789abcdef"]);
    std::thread::sleep(Duration::from_secs(3));
    let now = case.admin.node(&node).unwrap();
    assert_eq!(
        now["status"]["nodeInfo"], there["status"]["nodeInfo"],
        "the other machine's node is left alone"
    );
    assert_eq!(now["metadata"]["uid"], there["metadata"]["uid"]);
    cluster.kubectl(&["delete", "--wait=false", "node", &node]);
    corrected(&case);
}

pub(crate) fn pods_run_on_while_the_credentials_are_wrong(cluster: &ControlPlane) {
    let mut case = Case::start(cluster, "lapsed");
    case.namespace.create(&pod("steady", "Always", WAIT));
    let ready = |pods: &[Value]| pods.iter().all(is_ready).then_some(());
    case.until_pods("a Ready pod", Instant::now(), |pods| ready(pods).filter(|()| pods.len() == 1));
    let container = running(&case).unwrap();
    let witness = Witness::of(cluster, &case.namespace.name, &case.agent.name);
    let known = || if witness.objects() == 2 { Ok(()) } else { Err(witness.objects().to_string()) };
    case.agent.until("a witness", Instant::now(), SOON, known);

    let right = case.agent.kubeconfig();
    let (certificate, key) = expired(cluster, &case.agent.name);
    let wrong = with(&right, "client-certificate-data", Some(&STANDARD.encode(certificate)));
    let wrong = with(&wrong, "client-key-data", Some(&STANDARD.encode(key)));
    case.agent.kill();
    case.agent.set_kubeconfig(&wrong);
    case.agent.launch();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(running(&case).as_ref(), Some(&container), "{}", case.agent.describe());
    assert!(case.agent.pods().contains("warning: "), "{}", case.agent.pods());

    case.agent.set_kubeconfig(&right);
    // The pod that the node is sent next shows that it is a member again.
    case.namespace.create(&pod("next", "Always", WAIT));
    case.until_pods("the next pod", Instant::now(), |pods| ready(pods).filter(|()| pods.len() == 2));
    let changes = witness.changes();
    assert!(!changes.contains_key("steady") && !changes.contains_key(&case.agent.name), "{changes:#?}");
    assert!(!case.agent.pods().contains("warning: "), "{}", case.agent.pods());
}
