//! HTTP requests.

use crate::api::http::{self, Header, Request, Response};
use crate::api::types::Part;
use crate::{Answers, Failure, FailureKind, problems::failure};

/// A GET in the making: ten seconds, from the runner's machine.
#[derive(Debug, Clone)]
pub struct Get(Request);

impl Get {
    /// A request for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(Request {
            url: url.into(),
            headers: Vec::new(),
            via: None,
            trust: None,
            time_out: 10_000,
            body_limit: 0,
            forecast: None,
        })
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.headers.push(Header { name: name.to_owned(), value: vec![Part::Text(value.into())] });
        self
    }

    /// Asks through a host.
    pub fn via(mut self, host: &str) -> Self {
        self.0.via = Some(host.to_owned());
        self
    }

    /// How long it may take, in seconds.
    pub fn seconds(mut self, seconds: u32) -> Self {
        self.0.time_out = seconds.saturating_mul(1000);
        self
    }

    /// Bytes of the body kept, at most 1 MiB.
    pub fn body_limit(mut self, bytes: u32) -> Self {
        self.0.body_limit = bytes;
        self
    }

    /// Trusts these PEM certificates instead of the machine's own.
    pub fn trust(mut self, certificates: impl Into<String>) -> Self {
        self.0.trust = Some(certificates.into());
        self
    }

    /// What it will answer, where earlier changes decide it.
    pub fn answers(mut self, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.0.forecast = Some(Response { status, headers: Vec::new(), body: body.into(), dropped: 0 });
        self
    }

    /// The request.
    pub fn request(self) -> Request {
        self.0
    }

    /// Sends it.
    pub fn send(self) -> Result<Response, Failure> {
        http::get(&[self.0]).one()
    }
}

/// Sends requests in one call.
pub fn get(requests: impl IntoIterator<Item = Get>) -> Vec<Result<Response, Failure>> {
    let requests: Vec<Request> = requests.into_iter().map(Get::request).collect();
    if requests.is_empty() { Vec::new() } else { http::get(&requests) }
}

/// The JSON body of a response with a 2xx status.
pub fn body_json(url: &str, response: &Response) -> Result<serde_json::Value, Failure> {
    let wrong = |why: String| failure(FailureKind::Other("unexpected-answer".into()), url, why);
    if !(200..300).contains(&response.status) {
        return Err(wrong(format!("answered with status {}", response.status)));
    }
    if response.dropped > 0 {
        return Err(failure(FailureKind::TooLarge, url, "the body is larger than what was kept of it"));
    }
    serde_json::from_slice(&response.body).map_err(|error| wrong(format!("answered with what is no JSON: {error}")))
}
