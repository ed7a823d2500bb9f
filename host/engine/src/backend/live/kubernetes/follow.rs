//! Objects of a selection followed by watching, over broken streams and servers that restart.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;

use super::api::{Api, Repeat, Silence, innermost};
use super::failures::{of_answer, of_silence};
use super::read::items;
use super::request::{JSON, Request, with_query};
use crate::backend::objects::{name_of, namespace_of, number, text};
use crate::contract::Failure;

/// Seconds after which the server ends a watch, which then goes on where it was. A connection that died without a sign
/// is noticed a little later.
const WATCH: u64 = 45;
const SILENT: Duration = Duration::from_secs(WATCH + 15);
/// Pause before a stream that ended at once is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// Objects listed at a time.
const CHUNK: &str = "500";
/// Bytes of one event.
const MOST: usize = 64 << 20;

/// What is followed.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    /// Path of the objects.
    pub(super) path: String,
    /// Selectors in Kubernetes' own syntax; empty: all.
    pub(super) labels: String,
    pub(super) fields: String,
    /// Only metadata is asked for.
    pub(super) metadata_only: bool,
}

/// Objects by namespace and name.
pub(super) type Objects = BTreeMap<(String, String), Value>;

/// Why a watch ended.
enum Ended {
    /// It goes on from the last version seen.
    Resume,
    /// What is there must be listed again.
    List,
}

impl Followed {
    fn request(&self, more: &[(&str, &str)], watch: bool) -> Request {
        let mut parameters = vec![("labelSelector", self.labels.as_str()), ("fieldSelector", self.fields.as_str())];
        parameters.extend_from_slice(more);
        let accept = match (self.metadata_only, watch) {
            (false, _) => JSON,
            (true, false) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            (true, true) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        };
        Request::get(with_query(&self.path, &parameters)).accepting(accept)
    }

    /// Shows the objects, as they are and whenever they change, to `look`, until it has seen enough. Nothing further is
    /// shown to it before it has made up its mind.
    ///
    /// # Errors
    /// When the server refuses to show them, or does not answer for longer than one that restarts.
    pub(super) async fn until<'f, T>(
        &self,
        api: &Api,
        mut look: impl FnMut(&Objects) -> BoxFuture<'f, ControlFlow<T>>,
    ) -> Result<T, Failure> {
        loop {
            let (mut objects, mut version) = self.list(api).await?;
            if let ControlFlow::Break(seen) = look(&objects).await {
                return Ok(seen);
            }
            loop {
                let begun = Instant::now();
                let ended = match self.watch(api, &mut objects, &mut version, &mut look).await {
                    ControlFlow::Break(seen) => return Ok(seen),
                    ControlFlow::Continue(ended) => ended,
                };
                if begun.elapsed() < PAUSE {
                    tokio::time::sleep(PAUSE).await;
                }
                match ended {
                    Ended::Resume => {}
                    Ended::List => break,
                }
            }
        }
    }

    async fn list(&self, api: &Api) -> Result<(Objects, String), Failure> {
        let mut objects = Objects::new();
        let mut token = String::new();
        loop {
            let request = self.request(&[("limit", CHUNK), ("continue", &token)], false);
            let answer = api.send(&request, Repeat::Freely).await;
            let mut answer = answer.map_err(|silence| of_silence(&silence, &api.cluster))?;
            if answer.status == 410 {
                objects.clear();
                token.clear();
                continue;
            }
            if !answer.is_success() {
                return Err(of_answer(&answer, &self.path, &api.cluster));
            }
            for object in items(&mut answer.body) {
                objects.insert(key(&object), object);
            }
            text(&answer.body, "/metadata/continue").clone_into(&mut token);
            if token.is_empty() {
                return Ok((objects, text(&answer.body, "/metadata/resourceVersion").to_owned()));
            }
        }
    }

    /// Watches until the stream ends or enough was seen.
    async fn watch<'f, T>(
        &self,
        api: &Api,
        objects: &mut Objects,
        version: &mut String,
        look: &mut impl FnMut(&Objects) -> BoxFuture<'f, ControlFlow<T>>,
    ) -> ControlFlow<T, Ended> {
        let mut events = match self.open(api, version).await {
            Ok(events) => events,
            Err(why) => {
                tracing::debug!(path = self.path, %why, "a watch is not to be had; what is there is listed again");
                return ControlFlow::Continue(Ended::List);
            }
        };
        loop {
            let event = match tokio::time::timeout(SILENT, events.next()).await {
                Ok(Ok(Some(event))) => event,
                // Its end, or its connection's: what was missed comes from the last version on.
                Ok(Ok(None) | Err(_)) | Err(_) => return ControlFlow::Continue(Ended::Resume),
            };
            let object = event.get("object").cloned().unwrap_or_default();
            match text(&event, "/type") {
                "ADDED" | "MODIFIED" => {
                    text(&object, "/metadata/resourceVersion").clone_into(version);
                    objects.insert(key(&object), object);
                }
                "DELETED" => {
                    text(&object, "/metadata/resourceVersion").clone_into(version);
                    objects.remove(&key(&object));
                }
                "BOOKMARK" => {
                    text(&object, "/metadata/resourceVersion").clone_into(version);
                    continue;
                }
                // 410: the version is too old to go on from. Any other error is no better.
                _ => {
                    tracing::debug!(path = self.path, code = number(&object, "/code"), "a watch ended with an error");
                    return ControlFlow::Continue(Ended::List);
                }
            }
            // Many changes that came together are looked at once.
            if !events.has_line()
                && let ControlFlow::Break(seen) = look(objects).await
            {
                return ControlFlow::Break(seen);
            }
        }
    }

    async fn open(&self, api: &Api, version: &str) -> Result<Events, Silence> {
        let seconds = WATCH.to_string();
        let more = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", seconds.as_str()),
        ];
        let request = self.request(&more, true);
        let opened = tokio::time::timeout(SILENT, api.respond(&request)).await;
        let response = opened.unwrap_or_else(|_| Err(Silence::Lost("no answer to a watch".to_owned())))?;
        match response.status() {
            http::StatusCode::OK => Ok(Events { body: response.into_body(), read: Vec::new() }),
            status => Err(Silence::NotBegun(format!("HTTP status {status}"))),
        }
    }
}

fn key(object: &Value) -> (String, String) {
    (namespace_of(object).to_owned(), name_of(object).to_owned())
}

/// Events of a watch, a line each.
struct Events {
    body: Body,
    read: Vec<u8>,
}

impl Events {
    fn has_line(&self) -> bool {
        self.read.contains(&b'\n')
    }

    /// The next event; none at the end of the stream.
    async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(|error| error.to_string());
            }
            if self.read.len() > MOST {
                return Err("an event without end".to_owned());
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(innermost(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
