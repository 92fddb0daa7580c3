//! Who is answered: every route with every method, and every way not to be the API server.

use http::Method;
use serde_json::json;

use super::super::routes::{Handler, ROUTES};
use super::rig::{Authority, Credentials, Rig, ask, body, parts, self_signed, serving};
use crate::server::https::{HttpsError, start};
use crate::supervise::Supervisor;

const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"];

/// A path for every route of the table, and some for none.
fn paths() -> Vec<String> {
    let of_routes = ROUTES.iter().map(|route| {
        let mut names = ["default", "web-node1", "main"].into_iter();
        let part = |part| if part == "{}" { names.next().unwrap_or("x") } else { part };
        route.path.split('/').map(part).collect::<Vec<_>>().join("/")
    });
    let others = ["/", "/exec/default/web-node1/main", "/nothing", "/pods/", "/metrics", "/debug/pprof/"];
    of_routes.chain(others.map(str::to_owned)).collect()
}

/// The request line and host; CONNECT names an authority.
fn head(method: &str, path: &str) -> String {
    let target = if method == "CONNECT" { "x:1" } else { path };
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n")
}

async fn every_answer_is(rig: &Rig, who: &str, credentials: Option<&Credentials>, code: u16, header: &str) {
    for path in paths() {
        for method in METHODS {
            let (found, answer) = rig.ask(credentials, &format!("{}{header}", head(method, &path))).await;
            assert_eq!(found, code, "{who}: {method} {path}");
            assert!(!answer.contains("web-node1") && !answer.contains("secret"), "{who}: {answer}");
        }
    }
}

#[tokio::test]
async fn a01_without_verified_credentials_every_route_and_method_is_401() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["secret"]);
    every_answer_is(&rig, "nobody", None, 401, "").await;
    let (name, groups) = ("kube-apiserver-kubelet-client", ["system:masters"]);
    let strangers = [
        ("another authority", Authority::new("others").client(name, &groups)),
        ("an authority of the same name", Authority::new("clients").client(name, &groups)),
        ("expired", rig.ca.expired(name, &groups)),
        ("self-signed", self_signed(name, &groups)),
    ];
    for (who, credentials) in &strangers {
        for path in paths() {
            assert_eq!(rig.ask(Some(credentials), &head("GET", &path)).await.0, 401, "{who}: {path}");
        }
    }
    for token in ["Bearer x", "Bearer ", "Basic cm9vdDpyb290"] {
        let (code, _) = rig.ask(None, &format!("{}Authorization: {token}\r\n", head("GET", "/pods"))).await;
        assert_eq!(code, 401, "{token}");
    }
    rig.finish().await;
}

#[tokio::test]
async fn a02_whoever_is_not_the_api_server_is_403_on_every_route_and_method() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["secret"]);
    let node = rig.ca.client("system:node:node-1", &["system:nodes"]);
    every_answer_is(&rig, "a node", Some(&node), 403, "").await;
    let admin = rig.ca.client("kubernetes-admin", &["kubeadm:cluster-admins"]);
    for path in paths() {
        assert_eq!(rig.ask(Some(&admin), &head("GET", &path)).await.0, 403, "{path}");
    }
    let (_, answer) = rig.get(Some(&node), "/pods").await;
    assert_eq!(answer, "Forbidden (user=system:node:node-1, resource=nodes, subresource=pods)");
    rig.finish().await;
}

/// Upstream's `pkg/kubelet/server/auth.go`: a route that is not here is one whose right nobody has thought about.
#[test]
fn a02_every_route_has_its_subresources() {
    let expected: &[(Handler, &[&str])] = &[
        (Handler::Health, &["healthz", "proxy"]),
        (Handler::Pods, &["pods", "proxy"]),
        (Handler::Configz, &["configz", "proxy"]),
        (Handler::ContainerLogs, &["proxy"]),
    ];
    for route in ROUTES {
        let (_, wanted) = expected.iter().find(|(handler, _)| *handler == route.handler).expect(route.path);
        assert_eq!(route.subresources, *wanted, "{}", route.path);
        assert_eq!(route.methods, [Method::GET], "{}: exec and its like force the verb create", route.path);
    }
    assert_eq!(ROUTES.len(), expected.len());
}

#[tokio::test]
async fn a02_the_api_server_is_answered() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["one", "two"]);
    let masters = rig.ca.client("system:apiserver", &["system:masters"]);
    for credentials in [rig.api_server(), masters] {
        let get = |path: &'static str| rig.get(Some(&credentials), path);
        assert_eq!(get("/healthz").await, (200, "ok".to_owned()));
        assert_eq!(get("/configz").await, (200, "{\"kubeletconfig\":{}}".to_owned()));
        assert_eq!(get("/containerLogs/default/web-node1/main").await, (200, "one\ntwo\n".to_owned()));
        let (code, pods) = get("/pods").await;
        let pods: serde_json::Value = serde_json::from_str(&pods).unwrap();
        assert_eq!((code, &pods["kind"], &pods["apiVersion"]), (200, &json!("PodList"), &json!("v1")));
    }
    *rig.views.sick.lock().unwrap() = Some("the runtime does not answer".to_owned());
    let sick = rig.get(Some(&rig.api_server()), "/healthz").await;
    assert_eq!(sick, (500, "the runtime does not answer".to_owned()));
    rig.finish().await;
}

#[tokio::test]
async fn a02_it_is_open_to_all_only_when_the_configuration_says_so_twice() {
    let open =
        json!({"authentication": {"anonymous": {"enabled": true}}, "authorization": {"mode": "AlwaysAllow"}});
    let rig = Rig::new(open).await;
    assert_eq!(rig.get(None, "/healthz").await.0, 200);
    let other = Authority::new("others").client("anybody", &[]);
    assert_eq!(rig.get(Some(&other), "/healthz").await.0, 200);
    assert_eq!(rig.get(None, "/../pods").await.0, 400, "open is not careless");
    rig.finish().await;
    for half in [
        json!({"authentication": {"anonymous": {"enabled": true}}}),
        json!({"authorization": {"mode": "AlwaysAllow"}, "authentication": {}}),
    ] {
        let rig = Rig::new(half).await;
        assert_eq!(rig.get(None, "/healthz").await.0, 401);
        rig.finish().await;
    }
}

#[tokio::test]
async fn a03_the_read_only_port_is_local_and_has_health_and_pods_only() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["secret"]);
    let address = rig.listening.read_only.unwrap();
    assert!(address.ip().is_loopback(), "{address}");
    for path in paths() {
        for method in METHODS {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (code, answer) = ask(stream, &head(method, &path)).await;
            let wanted: &[u16] = match (path.as_str(), method) {
                ("/healthz" | "/pods", "GET") => &[200],
                (_, "CONNECT") => &[400, 404],
                ("/healthz" | "/pods", _) => &[405],
                _ => &[404],
            };
            assert!(wanted.contains(&code), "{method} {path}: {code}");
            assert!(!answer.contains("secret"), "{answer}");
        }
    }
    rig.finish().await;
}

#[tokio::test]
async fn a07_a_path_that_can_be_read_in_two_ways_is_400() {
    let rig = Rig::new(json!({})).await;
    let odd = [
        "//pods",
        "/./pods",
        "/configz/../pods",
        "/%2e%2e/pods",
        "/pods%2f",
        "/%70ods",
        "/pods;a=b",
        "/pods//",
        "/containerLogs/default/..%2f..%2fetc/main",
        "/containerLogs/default/../main",
        "/containerLogs/a//b",
    ];
    for path in odd {
        assert_eq!(rig.get(Some(&rig.api_server()), path).await.0, 400, "{path}");
        assert_eq!(rig.get(None, path).await.0, 401, "{path}");
    }
    let absolute = rig.get(Some(&rig.api_server()), "https://x/healthz").await;
    assert_eq!(absolute.0, 200, "an absolute target means its path");
    assert_eq!(rig.get(Some(&rig.api_server()), "https://x/healthz/../pods").await.0, 400);
    for path in ["/podsX", "/Pods", "/pods/", "/containerLogs/default/web"] {
        assert_eq!(rig.get(Some(&rig.api_server()), path).await.0, 404, "{path}");
    }
    rig.finish().await;
}

#[tokio::test]
async fn a10_no_header_names_a_caller() {
    let rig = Rig::new(json!({})).await;
    let node = rig.ca.client("system:node:node-1", &["system:nodes"]);
    let headers = [
        "X-Remote-User: kube-apiserver\r\nX-Remote-Group: system:masters\r\n",
        "Impersonate-User: kube-apiserver\r\nImpersonate-Group: system:masters\r\n",
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-User: kube-apiserver\r\nForwarded: for=127.0.0.1\r\n",
        "X-Forwarded-Client-Cert: Subject=\"CN=kube-apiserver\"\r\nX-SSL-Client-S-DN: CN=kube-apiserver\r\n",
        "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        "X-HTTP-Method-Override: GET\r\n",
    ];
    for header in headers {
        let ask = |who: Option<Credentials>| {
            let rig = &rig;
            async move { rig.ask(who.as_ref(), &format!("{}{header}", head("GET", "/pods"))).await.0 }
        };
        assert_eq!((ask(None).await, ask(Some(node.clone())).await), (401, 403), "{header}");
    }
    let split = "GET /pods HTTP/1.1\r\nHost: x\r\nX-A: a\rImpersonate-User: kube-apiserver\r\n";
    assert_eq!(rig.ask(None, split).await.0, 400);
    rig.finish().await;
}

#[tokio::test]
async fn a12_only_get_is_answered_and_the_answer_says_so() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["secret"]);
    let routed = paths().into_iter().take(ROUTES.len());
    for path in routed {
        for method in METHODS.iter().filter(|method| !["GET", "CONNECT"].contains(method)) {
            let (code, answer) = rig.ask(Some(&rig.api_server()), &head(method, &path)).await;
            assert_eq!(code, 405, "{method} {path}");
            assert!(answer.to_ascii_lowercase().contains("\r\nallow: get\r\n"), "{answer}");
            assert!(!answer.contains("secret"), "{answer}");
        }
    }
    rig.finish().await;
}

#[tokio::test]
async fn logs_are_off_with_the_debugging_handlers() {
    let rig = Rig::new(json!({"enableDebuggingHandlers": false})).await;
    rig.pod("web", &["one"]);
    let (code, answer) =
        rig.ask(Some(&rig.api_server()), &head("GET", "/containerLogs/default/web-node1/main")).await;
    assert_eq!((code, body(&answer).as_str()), (405, "Debug endpoints are disabled."));
    assert_eq!(rig.get(Some(&rig.api_server()), "/healthz").await.0, 200);
    rig.finish().await;
}

#[tokio::test]
async fn what_keeps_the_server_from_starting_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (supervisor, _supervision) = Supervisor::new(tokio_util::sync::CancellationToken::new());
    let failed = |keys: serde_json::Value| {
        let parts = parts(dir.path(), serving(dir.path(), keys), Default::default(), Default::default());
        let supervisor = &supervisor;
        async move { start(parts, supervisor).await.unwrap_err() }
    };
    let told = |error: HttpsError| crate::chain::Chain(&error).to_string();
    let files = json!({"tlsCertFile": "/no/crt", "tlsPrivateKeyFile": "/no/key"});
    let wanted = "failed to have a serving certificate: failed to read /no/crt: No such file";
    assert!(told(failed(files).await).starts_with(wanted));
    let ca = json!({"authentication": {"x509": {"clientCAFile": "/no/ca"}}});
    let wanted = "failed to read authentication.x509.clientCAFile: failed to read /no/ca: No such file";
    assert!(told(failed(ca).await).starts_with(wanted));
}
