//! What is asked of an API server, and what it answers.

use std::time::Duration;

use serde_json::Value;

use crate::backend::objects::text;

/// Media type of objects.
pub(super) const JSON: &str = "application/json";

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// `GET`, `POST`, ….
    pub(super) method: http::Method,
    /// Path with its query, each part encoded.
    pub(super) path: String,
    /// Media types that the answer may have.
    pub(super) accept: &'static str,
    /// Media type of the body.
    pub(super) content: &'static str,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub(super) fn new(method: http::Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), accept: JSON, content: JSON, body: Vec::new() }
    }

    /// A read.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(http::Method::GET, path)
    }

    /// With media types that the answer may have.
    pub(super) fn accepting(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// With a body of this media type.
    pub(super) fn with(mut self, content: &'static str, body: &Value) -> Self {
        self.content = content;
        self.body = body.to_string().into_bytes();
        self
    }
}

/// What a status says of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// This is the answer.
    Final,
    /// The server did not take the request up; it may say how long to wait.
    NotTaken(Option<Duration>),
    /// The server lost sight of it: it may have been performed.
    Unclear,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// `Retry-After`.
    pub(super) retry_after: Option<Duration>,
    /// The body; a text where it is no JSON.
    pub(super) body: Value,
}

impl Answer {
    /// Whether it was done.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Why it was not done, as the server names the kind of it: `Conflict`, `NotFound`, ….
    pub(super) fn reason(&self) -> &str {
        text(&self.body, "/reason")
    }

    /// What the server says to people.
    pub(super) fn message(&self) -> String {
        let said = match &self.body {
            Value::String(text) => text.trim(),
            body => text(body, "/message"),
        };
        match said.is_empty() {
            true => format!("HTTP status {}", self.status),
            false => said.to_owned(),
        }
    }

    /// Causes of the failure: reason, message, field.
    pub(super) fn causes(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let causes = self.body.pointer("/details/causes").and_then(Value::as_array);
        let parts = |cause| (text(cause, "/reason"), text(cause, "/message"), text(cause, "/field"));
        causes.into_iter().flatten().map(parts)
    }

    /// Whether a budget forbids an eviction: an answer, where other answers with its status are a request to wait.
    pub(super) fn is_of_budget(&self) -> bool {
        self.causes().any(|(reason, ..)| reason == "DisruptionBudget")
    }

    /// What the status says of the request.
    pub(super) fn standing(&self) -> Standing {
        // What the API server says when its own store does not answer in time (k8s.io/apiserver, storage/etcd3).
        const STORE: [&str; 4] = ["etcdserver:", "rpc error:", "context deadline exceeded", "connection refused"];
        match self.status {
            429 if self.is_of_budget() => Standing::Final,
            429 | 503 => Standing::NotTaken(self.retry_after),
            504 => Standing::Unclear,
            500 if STORE.iter().any(|said| self.message().contains(said)) => Standing::Unclear,
            _ => Standing::Final,
        }
    }
}

/// A part of a path or query, encoded (RFC 3986, 2.3).
pub(super) fn encode(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A path with parameters; those without a value are left out.
pub(super) fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = given.map(|(name, value)| format!("{name}={}", encode(value))).collect();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", query.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_empty_ones_left_out() {
        let path = with_query("/api/v1/pods", &[("labelSelector", "app in (a, b)"), ("continue", ""), ("limit", "5")]);
        assert_eq!(path, "/api/v1/pods?labelSelector=app%20in%20%28a%2C%20b%29&limit=5");
        assert_eq!(encode("system:node é"), "system%3Anode%20%C3%A9");
    }
}
