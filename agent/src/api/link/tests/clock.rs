//! A machine whose clock is off: certificates are not valid yet, or no longer.

use base64::Engine as _;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::api::fault::explain;

/// A server whose certificate counts from `start` to `end`, in hours from now; its address and its authority.
async fn server(start: i64, end: i64, tasks: &mut JoinSet<()>) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let now = Clock::of_this_machine().unwrap().now().wall;
    let at = |hours: i64| SystemTime::from(now + jiff::SignedDuration::from_hours(hours));
    (params.not_before, params.not_after) = (at(start).into(), at(end).into());
    let certificate = params.self_signed(&key).unwrap();
    let secret = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let settings = settings.with_no_client_auth();
    let settings = settings.with_single_cert(vec![certificate.der().clone()], secret).unwrap();
    let (acceptor, (listener, address)) = (TlsAcceptor::from(Arc::new(settings)), listen().await);
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // The client refuses the certificate, which ends it.
            let _refused = acceptor.accept(stream).await;
        }
    });
    (format!("https://{address}"), certificate.pem())
}

/// What a call to it is told to have failed by.
async fn told(start: i64, end: i64) -> String {
    let mut tasks = JoinSet::new();
    let (server, authority) = server(start, end, &mut tasks).await;
    let ca = base64::engine::general_purpose::STANDARD.encode(authority);
    let text = kubeconfig(&server, "")
        .replace("}}]\nusers", &format!(", certificate-authority-data: {ca}}}}}]\nusers"));
    let (_dir, _file, _link, clients) = link(&text).await;
    let request = http::Request::get("/version").body(Vec::new()).unwrap();
    explain(&clients.shared.request_text(request).await.unwrap_err(), &server)
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_named() {
    let slow = told(1, 48).await;
    assert!(slow.contains("not valid yet: is this machine's clock right?"), "{slow}");
    let fast = told(-48, -1).await;
    assert!(fast.contains("has expired, unless this machine's clock is wrong"), "{fast}");
}
