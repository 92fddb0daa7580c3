//! Requests and answers as they are on the wire, through a kube client.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const MERGE: &str = "application/merge-patch+json";

/// How long a case waits for one event. Longer than a bookmark at the end of a short watch takes.
const PATIENCE: Duration = Duration::from_secs(15);

pub struct Wire {
    pub client: Client,
}

/// Status and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Answer {
    /// The body, of an answer that must have this status.
    #[track_caller]
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }

    /// Checks a refusal: status, reason and the whole message.
    #[track_caller]
    pub fn refused(self, code: u16, reason: &str, message: &str) -> Value {
        let body = self.expect(code);
        assert_eq!(body["kind"], "Status");
        assert_eq!(body["apiVersion"], "v1");
        assert_eq!(body["status"], "Failure");
        assert_eq!(body["code"], code);
        assert_eq!(body["reason"], reason, "{body}");
        assert_eq!(body["message"], message, "{body}");
        body
    }
}

impl Wire {
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", Value::Null).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, "application/json", body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, "application/json", body).await
    }

    /// A strategic merge patch.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, STRATEGIC, body).await
    }

    /// A JSON merge patch.
    pub async fn merge(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, MERGE, body).await
    }

    pub async fn delete(&self, path: &str, options: Value) -> Answer {
        self.send(Method::DELETE, path, "application/json", options).await
    }

    async fn send(&self, method: Method, path: &str, content: &str, body: Value) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut request = Request::builder().method(method).uri(path);
        if !content.is_empty() {
            request = request.header("Content-Type", content);
        }
        let answer = self.client.send(request.body(Body::from(bytes)).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { code, body: serde_json::from_slice(&bytes).unwrap_or(Value::String(text)) }
    }

    /// Opens a watch; the path has all parameters but `watch`.
    pub async fn watch(&self, path: &str) -> Watch {
        let joint = if path.contains('?') { '&' } else { '?' };
        let request = Request::get(format!("{path}{joint}watch=true")).body(Body::empty()).unwrap();
        let answer = self.client.send(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        Watch { body: answer.into_body(), rest: Vec::new() }
    }
}

/// An open watch.
pub struct Watch {
    body: Body,
    rest: Vec<u8>,
}

impl Watch {
    /// The next event; None at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        timeout(PATIENCE, self.line()).await.expect("the watch says nothing for 15 s")
    }

    /// The next event, with its type and the name of its object.
    #[track_caller]
    pub fn event(&mut self, kind: &str, name: &str) -> impl Future<Output = Value> {
        let (kind, name) = (kind.to_owned(), name.to_owned());
        async move {
            let event = self.next().await.unwrap_or_else(|| panic!("the watch ended before {kind} {name}"));
            assert_eq!(
                (event["type"].as_str(), event["object"]["metadata"]["name"].as_str()),
                (Some(&*kind), Some(&*name)),
                "{event}"
            );
            event["object"].clone()
        }
    }

    /// The next event within `limit`; Some(Null) stands for a broken connection, None for an orderly end.
    pub async fn try_next(&mut self, limit: Duration) -> Result<Option<Value>, Elapsed> {
        timeout(limit, self.line()).await
    }

    async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let Ok(frame) = self.body.frame().await? else { return Some(Value::Null) };
            if let Some(data) = frame.data_ref() {
                self.rest.extend_from_slice(data);
            }
        }
    }
}
