//! Bundles of certificates that the cluster vouches for: one by name.

use http::Request;
use serde::Deserialize;

use super::fetch::{Fetch, FetchError, failed};

/// Where they are.
const PATH: &str = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles";

/// What is read of a bundle.
#[derive(Deserialize)]
struct Bundle {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "trustBundle")]
    text: String,
}

impl Fetch {
    /// The text of a bundle; none if it does not exist, or the API server has no such kind.
    pub(crate) async fn trust_bundle(&self, name: &str) -> Result<Option<String>, FetchError> {
        let wrong = || FetchError::Name(name.to_owned());
        // As of other objects, and colons: the name of a signer's bundle begins with the signer's.
        let harmless = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b':')
        };
        if name.is_empty() || name.len() > 253 || name.starts_with('.') || !name.bytes().all(harmless) {
            return Err(wrong());
        }
        let request = Request::get(format!("{PATH}/{name}")).body(Vec::new()).map_err(|_| wrong())?;
        match self.call(request).await {
            Ok(text) => {
                let bundle: Result<Bundle, _> = serde_json::from_str(&text);
                let text = bundle.map(|bundle| Some(bundle.spec.text));
                text.map_err(|_| FetchError::Answer("ClusterTrustBundle"))
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}
