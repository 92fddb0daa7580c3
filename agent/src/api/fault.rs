//! What a failed call to the API server means, in words that name the fix. Pure.

use std::error::Error;

/// Says what failed, for people, and which API server it was.
#[must_use]
pub fn explain(error: &kube::Error, server: &str) -> String {
    format!("API server {server}: {}", meaning(error))
}

/// Says what failed, for people: the innermost causes that the libraries know, translated. The libraries' own words
/// for an error repeat themselves at each level of the chain, and print whole answers as Rust values.
#[must_use]
pub fn meaning(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return refused(status.code, &status.message);
    }
    let chain = innermost(error);
    let hint = HINTS.iter().find(|(sign, _)| chain.contains(sign)).map(|(_, hint)| *hint);
    match hint {
        Some(hint) => format!("{hint} ({chain})"),
        None => chain,
    }
}

/// What the chain of errors ends in, and what that means.
const HINTS: &[(&str, &str)] = &[
    (
        "UnknownIssuer",
        "its certificate is not signed by the kubeconfig's certificate-authority: wrong CA, or another cluster",
    ),
    ("NotValidForName", "its certificate is not made for this address"),
    ("not valid for name", "its certificate is not made for this address"),
    ("NotValidYet", "its certificate is not valid yet: is this machine's clock right?"),
    ("not valid yet", "its certificate is not valid yet: is this machine's clock right?"),
    ("xpired", "a certificate has expired, unless this machine's clock is wrong"),
    ("AccessDenied", "it refuses the node's client certificate"),
    ("CertificateRequired", "it wants a client certificate, and the kubeconfig has none"),
    ("BadCertificate", "it refuses the node's client certificate"),
    ("Connection refused", "nothing listens there"),
    ("connection refused", "nothing listens there"),
    ("No route to host", "there is no route to it"),
    // HTTP/2's GOAWAY without an error: a server that ends, or that sheds a client it does not know.
    ("not a result of an error", "it closed the connection"),
    ("timed out", "it does not answer"),
    ("deadline has elapsed", "it does not answer"),
    ("failed to lookup address", "its name is not known"),
];

fn refused(code: u16, message: &str) -> String {
    match code {
        401 => format!(
            "the API server does not accept the node's credentials (expired, or of another cluster): {message}"
        ),
        _ => format!("{message} ({code})"),
    }
}

/// The last error of the chain. What encloses it says no more than that a call failed.
fn innermost(error: &kube::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Whether the API server answered, with whatever: then it is there.
#[must_use]
pub fn answered(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> kube::Error {
        kube::Error::Service(std::io::Error::other(text.to_owned()).into())
    }

    #[test]
    fn known_causes_are_translated_and_unknown_ones_are_told_as_they_are() {
        let refused = explain(&service("tcp connect error: Connection refused"), "https://a");
        assert!(refused.starts_with("API server https://a: nothing listens there"), "{refused}");
        let issuer = explain(&service("invalid peer certificate: UnknownIssuer"), "https://a");
        assert!(issuer.contains("not signed by the kubeconfig's certificate-authority"), "{issuer}");
        assert_eq!(explain(&service("odd"), "https://a"), "API server https://a: odd");
    }

    #[test]
    fn an_answer_is_told_apart_from_silence() {
        let status = kube::core::Status::failure("no", "Unauthorized").with_code(401);
        let error = kube::Error::Api(Box::new(status));
        assert!(answered(&error) && !answered(&service("odd")));
        assert!(explain(&error, "s").contains("does not accept the node's credentials"));
    }
}
