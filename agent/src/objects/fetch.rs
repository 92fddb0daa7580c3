//! What pods' surroundings ask of the API server: one ConfigMap or Secret by name, one token bound to a pod. Every call
//! has a deadline and a place among few.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use kube::Client;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::api::fault::meaning;
use crate::api::patience::CALL;
use crate::chain::Chain;
use crate::disk::contents::Opaque;
use crate::objects::wire::{MapItem, SecretItem};
use crate::objects::{Data, Kind, Reference};
use crate::source::desired::DesiredPod;
use crate::volume::plan::TokenSource;

/// Calls at once. A connection carries about 90 requests well, and watches live on the same one.
const CALLS: usize = 16;

/// Pauses before a refused request is made again; see [`Fetch::call`].
const REFUSED_AGAIN: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(60), Duration::from_millis(180)];

/// Why there is no answer to use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The API server said no.
    #[error("{0}")]
    Refused(String),
    /// It said that it cannot answer now.
    #[error("{0}")]
    Unavailable(String),
    /// It was not reached.
    #[error("failed to reach the API server: {}", meaning(.0))]
    Unreached(Arc<kube::Error>),
    /// It did not answer.
    #[error("the API server did not answer within {} s", CALL.as_secs())]
    Silent,
    /// What it said is something else. The text is not shown: it may hold a token.
    #[error("the API server's answer is not a {0}")]
    Answer(&'static str),
    /// It has no objects of this kind.
    #[error("the API server does not serve {0}")]
    NotServed(&'static str),
    /// There is none to ask.
    #[error("no API server is configured: --kubeconfig")]
    NoServer,
    /// Nothing was read yet of what is needed as a whole.
    #[error("services have not yet been read at least once, cannot construct envvars")]
    Unsynced,
    /// The directory of manifests was not read yet.
    #[error("the static pods' directory has not been read yet")]
    NotRead,
    /// The name would make another request of it.
    #[error("{0:?} is not the name of an object")]
    Name(String),
}

/// A service account, as far as it is told of.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Account {
    /// Its UID.
    pub(crate) uid: String,
    /// Its annotations.
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct AccountItem {
    metadata: Account,
}

/// Makes the calls.
#[derive(Clone)]
pub(crate) struct Fetch {
    client: Client,
    calls: Arc<Semaphore>,
}

impl Fetch {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, calls: Arc::new(Semaphore::new(CALLS)) }
    }

    /// An object; none if it does not exist. The one read that the Node authorizer grants is by name.
    pub(crate) async fn object(&self, reference: &Reference) -> Result<Option<Data>, FetchError> {
        let name = checked(&reference.name)?;
        let path = format!("{}/{name}", collection(reference)?);
        let request = Request::get(path).body(Vec::new()).map_err(|_| FetchError::Name(name.to_owned()))?;
        match self.call(request).await {
            Ok(text) => decoded(reference.kind, &text).map(Some),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// A service account; none if it does not exist.
    pub(crate) async fn account(&self, namespace: &str, name: &str) -> Result<Option<Account>, FetchError> {
        let (namespace, name) = (checked(namespace)?, checked(name)?);
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        let request = Request::get(path).body(Vec::new()).map_err(|_| FetchError::Name(name.to_owned()))?;
        match self.call(request).await {
            Ok(text) => {
                let account = serde_json::from_str::<AccountItem>(&text);
                account.map(|item| Some(item.metadata)).map_err(|_| FetchError::Answer("serviceaccount"))
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// A token bound to the pod, and its life in seconds.
    pub(crate) async fn token(
        &self,
        pod: &DesiredPod,
        source: &TokenSource,
    ) -> Result<(Opaque, Option<i64>), FetchError> {
        self.request_token(pod, &token_request(pod, source.audience.as_deref(), Some(source.seconds))).await
    }

    /// A token for this audience, bound to the pod, of its service account if that still has this UID; and its life, of
    /// which the API server decides, in seconds.
    pub(crate) async fn account_token(
        &self,
        pod: &DesiredPod,
        account_uid: &str,
        audience: &str,
    ) -> Result<(Opaque, Option<i64>), FetchError> {
        let mut request = token_request(pod, Some(audience), None);
        request.metadata.uid = Some(account_uid.to_owned());
        self.request_token(pod, &request).await
    }

    async fn request_token(
        &self,
        pod: &DesiredPod,
        request: &TokenRequest,
    ) -> Result<(Opaque, Option<i64>), FetchError> {
        let account = pod.pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let account = account.filter(|account| !account.is_empty()).unwrap_or("default");
        let (namespace, account) = (checked(&pod.namespace)?, checked(account)?);
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let body = serde_json::to_vec(request).map_err(|_| FetchError::Answer("request"))?;
        let request = Request::post(path).header(http::header::CONTENT_TYPE, "application/json").body(body);
        let request = request.map_err(|_| FetchError::Name(account.to_owned()))?;
        let text = self.text(request).await?;
        let answer: TokenRequest =
            serde_json::from_str(&text).map_err(|_| FetchError::Answer("TokenRequest"))?;
        let token = answer.status.and_then(|status| status.token).filter(|token| !token.is_empty());
        let token = token.ok_or(FetchError::Answer("TokenRequest"))?;
        Ok((token.into_bytes().into(), answer.spec.and_then(|spec| spec.expiration_seconds)))
    }

    /// The text of an answer.
    pub(super) async fn text(&self, request: Request<Vec<u8>>) -> Result<String, FetchError> {
        self.call(request).await.map_err(failed)
    }

    /// The text of an answer. The API server learns of a pod and of what its node may read for it by a watch of its
    /// own, a moment after it or before it tells this node: a first refusal is asked about again, and so is that the
    /// pod of a token is not there.
    pub(super) async fn call(&self, request: Request<Vec<u8>>) -> Result<String, kube::Error> {
        for pause in REFUSED_AGAIN {
            match self.call_once(request.clone()).await {
                Err(kube::Error::Api(status)) if may_be_lag(&status) => tokio::time::sleep(pause).await,
                answer => return answer,
            }
        }
        self.call_once(request).await
    }

    /// Not by the client's own decoding, which logs an answer that it cannot decode.
    async fn call_once(&self, request: Request<Vec<u8>>) -> Result<String, kube::Error> {
        let silent = || kube::Error::Service(Box::new(FetchError::Silent));
        // The semaphore is never closed.
        let Ok(_place) = self.calls.acquire().await else { return Err(silent()) };
        let answer = Box::pin(self.client.request_text(request));
        tokio::time::timeout(CALL, answer).await.unwrap_or_else(|_| Err(silent()))
    }
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Fetch")
    }
}

/// Where objects of its kind and namespace are.
pub(super) fn collection(reference: &Reference) -> Result<String, FetchError> {
    let resource = match reference.kind {
        Kind::ConfigMap => "configmaps",
        Kind::Secret => "secrets",
    };
    Ok(format!("/api/v1/namespaces/{}/{resource}", checked(&reference.namespace)?))
}

fn decoded(kind: Kind, text: &str) -> Result<Data, FetchError> {
    // What a decoder has to say may quote the text.
    match kind {
        Kind::ConfigMap => serde_json::from_str::<MapItem>(text).map(Data::from),
        Kind::Secret => serde_json::from_str::<SecretItem>(text).map(Data::from),
    }
    .map_err(|_| FetchError::Answer(kind.word()))
}

pub(super) fn failed(error: kube::Error) -> FetchError {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            let message = status.message.clone();
            if is_overload(status.code) {
                FetchError::Unavailable(message)
            } else {
                FetchError::Refused(message)
            }
        }
        kube::Error::Service(cause) => match cause.downcast::<FetchError>() {
            Ok(silent) => *silent,
            Err(cause) => FetchError::Unreached(Arc::new(kube::Error::Service(cause))),
        },
        other => FetchError::Unreached(Arc::new(other)),
    }
}

/// Whether a status says nothing of what was asked for.
fn is_overload(code: u16) -> bool {
    code >= 500 || code == 429
}

impl FetchError {
    /// Whether the server is away: it was not reached, did not answer, or said that it cannot.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Silent => true,
            Self::Unreached(error) => match error.as_ref() {
                kube::Error::Api(status) => is_overload(status.code),
                _ => true,
            },
            Self::Refused(_)
            | Self::Answer(_)
            | Self::NotServed(_)
            | Self::NoServer
            | Self::Unsynced
            | Self::NotRead
            | Self::Name(_) => false,
        }
    }
}

fn may_be_lag(status: &kube::core::Status) -> bool {
    let of_pod = status.details.as_ref().is_some_and(|details| details.kind == "pods");
    status.is_forbidden() || (status.is_not_found() && of_pod)
}

fn token_request(pod: &DesiredPod, audience: Option<&str>, seconds: Option<i64>) -> TokenRequest {
    let bound = BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.to_string()),
    };
    let spec = TokenRequestSpec {
        audiences: Some(audience.into_iter().map(ToOwned::to_owned).collect()),
        bound_object_ref: Some(bound),
        expiration_seconds: seconds,
    };
    TokenRequest { spec: Some(spec), ..TokenRequest::default() }
}

/// Names of objects are made of these characters, and a name that is not must not become part of a path.
pub(super) fn checked(name: &str) -> Result<&str, FetchError> {
    let harmless =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let named = !name.is_empty() && name.len() <= 253 && !name.starts_with('.') && name.bytes().all(harmless);
    if named { Ok(name) } else { Err(FetchError::Name(name.to_owned())) }
}

/// An error as events tell it.
pub(crate) fn told(error: &FetchError) -> String {
    Chain(error).to_string()
}
