//! ClusterTrustBundles in pods' volumes: by name and by signer, read from inside, and as they change.

use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::case::{Case, pod};
use crate::control_plane::ControlPlane;
use crate::say;

const PATH: &str = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles";
/// Prints both files, each without its line ends, whenever one has changed.
const SHOW: &str = "trap 'exit 0' TERM; last=; while :; do \
                    now=\"named `tr -d '\\n' </trust/named` signed `tr -d '\\n' </trust/signed`\"; \
                    [ \"$now\" = \"$last\" ] || echo \"$now\"; last=\"$now\"; sleep 0.05; done";
/// A change is to be in the files within this time, and in the log of the container that looks for it.
const LIMIT: Duration = Duration::from_secs(5);

/// Bundles that go with the case: they are in no namespace.
struct Bundles<'a> {
    cluster: &'a ControlPlane,
    names: Vec<String>,
}

impl Bundles<'_> {
    fn create(&mut self, name: &str, signer: Option<&str>, labels: &Value, text: &str) {
        let mut spec = json!({ "trustBundle": text });
        if let Some(signer) = signer {
            spec["signerName"] = json!(signer);
        }
        let object = json!({ "apiVersion": "certificates.k8s.io/v1beta1", "kind": "ClusterTrustBundle",
            "metadata": { "name": name, "labels": labels }, "spec": spec });
        self.cluster.create("admin", &object).unwrap();
        self.names.push(name.to_owned());
    }
}

impl Drop for Bundles<'_> {
    fn drop(&mut self) {
        let delete = ["delete", "--ignore-not-found", "--wait=false", "clustertrustbundle"];
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        // What stays is wiped with the cluster.
        let _ = self.cluster.try_kubectl("admin", &[delete.as_slice(), &names].concat(), "");
    }
}

/// A certificate of an authority, as PEM: the API server takes no others.
fn authority(name: &str) -> String {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn flat(texts: &[&str]) -> String {
    texts.concat().replace(['\r', '\n'], "")
}

pub(crate) fn certificates_that_the_cluster_vouches_for_are_inside_and_follow(cluster: &ControlPlane) {
    let case = Case::start(cluster, "trust");
    // Of another name in every run, and the prefix of its bundles' names.
    let signer = format!("example.com/{}", case.namespace.name);
    let of_signer = |name: &str| format!("{}:{name}", signer.replace('/', ":"));
    let [a, b, c] = ["a", "b", "c"].map(authority);
    let named = format!("named-{}", case.namespace.name);
    let chosen = json!({ "use": "pods" });
    let mut bundles = Bundles { cluster, names: Vec::new() };
    bundles.create(&of_signer("1"), Some(&signer), &chosen, &b);
    bundles.create(&of_signer("2"), Some(&signer), &chosen, &format!("{c}{b}"));
    bundles.create(&of_signer("3"), Some(&signer), &json!({ "use": "others" }), &a);
    let mut web = pod("web", "Always", SHOW);
    let labels = json!({ "matchLabels": chosen });
    web["spec"]["volumes"] = json!([{ "name": "trust", "projected": { "sources": [
        { "clusterTrustBundle": { "name": named, "path": "named" } },
        { "clusterTrustBundle": { "signerName": signer, "labelSelector": labels, "path": "signed" } },
    ] } }]);
    web["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "trust", "mountPath": "/trust" }]);
    case.namespace.create(&web);
    // What it lacks is named, and is not waited for longer than it takes to come.
    let waits = || {
        let told = case.agent.explain(&format!("{}/web", case.namespace.name));
        if told.contains(&format!("clustertrustbundle {named:?} not found")) { Ok(()) } else { Err(told) }
    };
    case.agent.until("the reason why it waits", Instant::now(), LIMIT * 4, waits);
    bundles.create(&named, None, &json!({}), &a);
    case.until_phase("web", "Running");
    let shows = |expected: &str| {
        let look = || {
            let logs = case.namespace.try_kubectl(&["logs", "web"])?;
            if logs.lines().last() == Some(expected) { Ok(()) } else { Err(logs) }
        };
        case.agent.until(expected, Instant::now(), LIMIT, look).1
    };
    shows(&format!("named {} signed {}", flat(&[&a]), flat(&[&b, &c])));
    case.admin.merge(&format!("{PATH}/{named}"), &json!({ "spec": { "trustBundle": c } })).unwrap();
    let by_name = shows(&format!("named {} signed {}", flat(&[&c]), flat(&[&b, &c])));
    let now_others = json!({ "metadata": { "labels": { "use": "others" } } });
    case.admin.merge(&format!("{PATH}/{}", of_signer("2")), &now_others).unwrap();
    let by_signer = shows(&format!("named {} signed {}", flat(&[&c]), flat(&[&b])));
    say(&format!(
        "trust bundles: a change by name after {by_name:?}, by label after {by_signer:?}, kubectl included"
    ));
    case.agent.a80_was_never_refused();
}
