//! One API server: the client, and requests that are sent again where that is safe.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use serde_json::Value;

use super::kinds::Kinds;
use super::kubeconfig::Kubeconfig;
use super::request::{Answer, Request, Standing};

/// How long an answer may take. The API server itself gives up after one minute (`--request-timeout`).
const ANSWER: Duration = Duration::from_secs(65);
/// How long a server that has answered before may be silent, as one that restarts is.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for one that never answered: it may begin to.
const FIRST_PATIENCE: Duration = Duration::from_secs(4);
/// Pauses between requests to a server that is silent.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Bytes that an answer may have.
const MOST: usize = 256 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Silence {
    /// Nothing was begun.
    #[error("{0}")]
    NotBegun(String),
    /// The request was sent, and how it ended is not known.
    #[error("{0}")]
    Lost(String),
    /// The kubeconfig does not lead to the cluster; nothing was begun.
    #[error("{0}")]
    Setup(String),
}

/// Whether a request whose end is not known may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Yes: a second time does no harm.
    Freely,
    /// No: once it may have begun, its end is in doubt.
    UntilBegun,
}

/// One API server.
pub(super) struct Api {
    /// The cluster's name in the inventory.
    pub(super) cluster: String,
    kubeconfig: Kubeconfig,
    client: tokio::sync::Mutex<Option<kube::Client>>,
    state: Mutex<State>,
    /// Kinds that it served when they were last asked for.
    pub(super) kinds: tokio::sync::Mutex<Option<Arc<Kinds>>>,
}

#[derive(Default)]
struct State {
    answered: bool,
    silent_since: Option<Instant>,
}

impl Api {
    pub(super) fn new(cluster: &str, kubeconfig: Kubeconfig) -> Self {
        Self {
            cluster: cluster.to_owned(),
            kubeconfig,
            client: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            kinds: tokio::sync::Mutex::default(),
        }
    }

    /// Sends a request until there is an answer to it, within bounds.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn send(&self, request: &Request, repeat: Repeat) -> Result<Answer, Silence> {
        let mut lost = None;
        let mut pause = PAUSE;
        loop {
            let (silence, wait) = match self.once(request).await {
                Ok(answer) => match answer.standing() {
                    Standing::Final => {
                        self.heard();
                        return Ok(answer);
                    }
                    Standing::NotTaken(wait) => (Silence::NotBegun(self.says(&answer)), wait),
                    Standing::Unclear => (Silence::Lost(self.says(&answer)), None),
                },
                Err(silence) => (silence, None),
            };
            match &silence {
                Silence::Setup(_) => return Err(silence),
                Silence::Lost(_) if repeat == Repeat::UntilBegun => return Err(silence),
                Silence::Lost(_) => lost = Some(silence.clone()),
                Silence::NotBegun(_) => {}
            }
            let next = wait.unwrap_or(pause);
            if !self.is_worth_waiting(next) {
                // Once a request may have been taken up, a later one that was not says nothing of it.
                return Err(lost.unwrap_or(silence));
            }
            tracing::debug!(cluster = self.cluster, %silence, "the API server is asked again");
            tokio::time::sleep(next).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends a request once; new credentials are tried when the old ones are not accepted.
    pub(super) async fn once(&self, request: &Request) -> Result<Answer, Silence> {
        let asked = async {
            let response = self.respond(request).await?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get(http::header::RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
            let body = Limited::new(response.into_body(), MOST).collect().await;
            let body = body.map_err(|error| Silence::Lost(self.silent(&innermost(&*error))))?.to_bytes();
            let body = match serde_json::from_slice(&body) {
                Ok(body) => body,
                Err(_) => Value::String(String::from_utf8_lossy(&body).into_owned()),
            };
            Ok(Answer { status, retry_after, body })
        };
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Silence::Lost(self.silent(&format!("no answer within {} s", ANSWER.as_secs())))),
        }
    }

    /// Begins a request; of what it answers only status and headers are there yet.
    pub(super) async fn respond(&self, request: &Request) -> Result<http::Response<Body>, Silence> {
        let client = self.client().await?;
        let response = self.respond_to(&client, request).await?;
        if response.status() != http::StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        // Certificates and tokens are renewed in their files while a run goes on.
        self.client.lock().await.take();
        let client = self.client().await?;
        self.respond_to(&client, request).await
    }

    async fn respond_to(&self, client: &kube::Client, request: &Request) -> Result<http::Response<Body>, Silence> {
        let mut built = http::Request::builder()
            .method(request.method.clone())
            .uri(&request.path)
            .header(http::header::ACCEPT, request.accept);
        if !request.body.is_empty() {
            built = built.header(http::header::CONTENT_TYPE, request.content);
        }
        let built = built
            .body(Body::from(request.body.clone()))
            .map_err(|error| Silence::NotBegun(format!("{} is no path: {error}", request.path)))?;
        client.send(built).await.map_err(|error| self.of_client(&error))
    }

    async fn client(&self) -> Result<kube::Client, Silence> {
        let mut held = self.client.lock().await;
        let expired = |client: &kube::Client| {
            client.valid_until().is_some_and(|until| until.as_second() <= chrono::Utc::now().timestamp())
        };
        if let Some(client) = held.as_ref().filter(|client| !expired(client)) {
            return Ok(client.clone());
        }
        let client = self.kubeconfig.connect().await.map_err(|error| Silence::Setup(error.to_string()))?;
        *held = Some(client.clone());
        Ok(client)
    }

    /// What a failure of the client means.
    fn of_client(&self, error: &kube::Error) -> Silence {
        let mut begun = true;
        for cause in causes(error) {
            if let Some(error) = cause.downcast_ref::<kube::client::AuthError>() {
                return Silence::Setup(self.kubeconfig.of_login(error).to_string());
            }
            if let Some(rustls::Error::InvalidCertificate(why)) = cause.downcast_ref::<rustls::Error>() {
                return Silence::Setup(self.kubeconfig.of_server_certificate(why));
            }
            if cause.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect()) {
                begun = false;
            }
        }
        let why = self.silent(&innermost(error));
        if begun { Silence::Lost(why) } else { Silence::NotBegun(why) }
    }

    fn silent(&self, why: &str) -> String {
        format!("the API server of {} ({}) does not answer: {why}", self.cluster, self.kubeconfig.server())
    }

    fn says(&self, answer: &Answer) -> String {
        format!("the API server of {} cannot serve at this time: {}", self.cluster, answer.message())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the server answers.
    fn heard(&self) {
        *self.state() = State { answered: true, silent_since: None };
    }

    /// Whether a server that is silent is waited for once more, that long.
    fn is_worth_waiting(&self, pause: Duration) -> bool {
        let mut state = self.state();
        let patience = if state.answered { PATIENCE } else { FIRST_PATIENCE };
        state.silent_since.get_or_insert_with(Instant::now).elapsed() + pause <= patience
    }
}

/// An error and what caused it, outermost first.
fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        // An I/O error names what is in it, but its `source` is that one's source.
        let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        within.map(|within| within as &(dyn std::error::Error + 'static)).or_else(|| error.source())
    })
}

/// What an error comes down to.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
