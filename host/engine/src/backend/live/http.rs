//! `http`: from this machine by reqwest, or by curl on a host that the request goes through.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method};

use super::curl;
use super::secrets::Secrets;
use super::{LiveHost, LiveRunner};
use crate::backend::budget::Budget;
use crate::backend::failure;
use crate::contract::http::{Capability, Request, Response, Submission};
use crate::contract::types::Label;
use crate::contract::{Caller, Class, Cut, Failure, InDoubt, Performed, Place};

/// Bytes of a body that are kept when the request names no limit.
const BODY: u32 = 64 << 10;
/// Bytes of a body that are kept at most.
const MOST_BODY: u32 = 1 << 20;
/// Reads of one call from one place at the same time.
const AT_A_TIME: usize = 16;

/// A request with everything that is sent, secrets among it: never shown.
pub(super) struct Prepared {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trust: Option<String>,
    pub(super) time_out: Duration,
    pub(super) limit: usize,
    pub(super) class: Class,
    /// What the answers of its call may still hold.
    pub(super) budget: Budget,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// The request was not sent, or it only reads.
    Failed(Failure),
    /// It may have been carried out.
    Doubtful(String),
}

impl Prepared {
    async fn new(
        request: Request,
        method: &str,
        body: &[crate::contract::types::Part],
        class: Class,
        carrier: &dyn Carrier,
        caller: &Caller,
    ) -> Result<Self, Failure> {
        let secrets = carrier.secrets();
        let mut headers = Vec::with_capacity(request.headers.len());
        for header in &request.headers {
            let value = secrets.join(&header.value).await?;
            let fits =
                HeaderName::from_bytes(header.name.as_bytes()).is_ok() && HeaderValue::from_bytes(&value).is_ok();
            if !fits {
                return Err(failure::invalid(&request.url, format!("the header {:?} cannot be sent", header.name)));
            }
            headers.push((header.name.clone(), value));
        }
        let limit = if request.body_limit == 0 { BODY } else { request.body_limit.min(MOST_BODY) };
        Ok(Self {
            method: method.to_owned(),
            body: secrets.join(body).await?,
            headers,
            trust: request.trust,
            time_out: Duration::from_millis(request.time_out.into()),
            limit: limit as usize,
            class,
            budget: caller.budget().clone(),
            url: request.url,
        })
    }

    /// What a request that was sent and not answered has come to.
    pub(super) fn unanswered(&self, failure: Failure) -> NoAnswer {
        match self.class.is_write() {
            true => NoAnswer::Doubtful(failure.message),
            false => NoAnswer::Failed(failure),
        }
    }
}

/// Carries requests to where they go from.
#[async_trait::async_trait]
pub(super) trait Carrier: Send + Sync {
    /// Values of secrets.
    fn secrets(&self) -> &Secrets;
    /// Sends a request and reads its answer.
    async fn carry(&self, request: &Prepared) -> Result<Response, NoAnswer>;
}

#[async_trait::async_trait]
impl Carrier for LiveRunner {
    fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    async fn carry(&self, request: &Prepared) -> Result<Response, NoAnswer> {
        ask(request).await
    }
}

#[async_trait::async_trait]
impl Carrier for LiveHost {
    fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    async fn carry(&self, request: &Prepared) -> Result<Response, NoAnswer> {
        curl::ask(self.shell.as_ref(), request).await
    }
}

#[async_trait::async_trait]
impl Capability for LiveRunner {
    async fn get(&self, _place: &Place, caller: &Caller, items: Vec<Request>) -> Performed<Response> {
        Ok(get(self, caller, items).await)
    }

    async fn send(&self, _place: &Place, caller: &Caller, items: Vec<Submission>) -> Performed<Response> {
        send(self, caller, items).await
    }
}

#[async_trait::async_trait]
impl Capability for LiveHost {
    async fn get(&self, _place: &Place, caller: &Caller, items: Vec<Request>) -> Performed<Response> {
        Ok(get(self, caller, items).await)
    }

    async fn send(&self, _place: &Place, caller: &Caller, items: Vec<Submission>) -> Performed<Response> {
        send(self, caller, items).await
    }
}

/// Several at the same time. Once their answers hold all that a call may bring, the others are not sent.
async fn get(carrier: &dyn Carrier, caller: &Caller, items: Vec<Request>) -> Vec<Result<Response, Failure>> {
    let one = |item: Request| async move {
        caller.budget().admit(&item.url)?;
        let request = Prepared::new(item, "GET", &[], Class::Read, carrier, caller).await?;
        carrier.carry(&request).await.map_err(|error| match error {
            NoAnswer::Failed(failure) => failure,
            NoAnswer::Doubtful(message) => failure::unreachable(&request.url, message),
        })
    };
    stream::iter(items.into_iter().map(one)).buffered(AT_A_TIME).collect().await
}

/// In order, until one has no answer.
async fn send(carrier: &dyn Carrier, caller: &Caller, items: Vec<Submission>) -> Performed<Response> {
    let mut answers: Vec<Result<Response, Failure>> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        if answers.iter().any(Result::is_err) {
            answers.push(Err(failure::not_attempted(item.request.url)));
            continue;
        }
        let class = Class::from(item.effect);
        let prepared = Prepared::new(item.request, &item.method, &item.body, class, carrier, caller).await;
        let answer = match prepared {
            Err(failure) => Err(failure),
            Ok(request) => match carrier.carry(&request).await {
                Ok(response) => Ok(response),
                Err(NoAnswer::Failed(failure)) => Err(failure),
                Err(NoAnswer::Doubtful(message)) => {
                    return Err(Cut::after(&mut answers, InDoubt { item: index, message }));
                }
            },
        };
        answers.push(answer);
    }
    Ok(answers)
}

/// One client a set of trusted certificates: no proxy, no redirect.
fn client(trust: Option<&str>) -> Result<Client, String> {
    super::tls::provide();
    let mut builder = Client::builder().redirect(Policy::none()).no_proxy();
    if let Some(pem) = trust {
        let certificates = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|_| "what should be trusted are no PEM certificates".to_owned())?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| causes(&error))
}

async fn ask(request: &Prepared) -> Result<Response, NoAnswer> {
    let invalid = |message: String| NoAnswer::Failed(failure::invalid(&request.url, message));
    let client = client(request.trust.as_deref()).map_err(invalid)?;
    let method = Method::from_bytes(request.method.as_bytes()).map_err(|error| invalid(error.to_string()))?;
    let mut builder = client.request(method, &request.url).timeout(request.time_out).body(request.body.clone());
    for (name, value) in &request.headers {
        builder = builder.header(name, value.as_slice());
    }
    let mut response = builder.send().await.map_err(|error| unanswered(request, &error))?;
    let mut body = Vec::new();
    let mut dropped = 0_u64;
    while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(request, &error))? {
        let room = request.budget.take(request.limit.saturating_sub(body.len()).min(chunk.len()));
        body.extend_from_slice(&chunk[..room]);
        dropped += (chunk.len() - room) as u64;
    }
    let headers = response.headers().iter().map(|(name, value)| Label {
        name: name.as_str().to_owned(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    });
    Ok(Response {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body,
        dropped: u32::try_from(dropped).unwrap_or(u32::MAX),
    })
}

/// What reqwest's error means. It never names a header or a body.
fn unanswered(request: &Prepared, error: &reqwest::Error) -> NoAnswer {
    let url = request.url.as_str();
    if error.is_builder() {
        return NoAnswer::Failed(failure::invalid(url, causes(error)));
    }
    if error.is_connect() {
        // Without a connection nothing was sent.
        return NoAnswer::Failed(failure::unreachable(url, causes(error)));
    }
    if error.is_timeout() {
        let message = format!("no answer within {} s", request.time_out.as_secs_f32());
        return request.unanswered(failure::timed_out(url, message));
    }
    request.unanswered(failure::unreachable(url, causes(error)))
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
