//! Evictions: budgets obeyed and named, Pods watched until they are gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::api::{Api, Repeat, Silence};
use super::failures::{Trouble, of_answer, of_silence};
use super::follow::{Followed, Objects};
use super::kinds::path_part;
use super::request::{Answer, JSON, Request, encode};
use crate::backend::failure;
use crate::backend::objects::{not_evicted, number, text, title, uid_of};
use crate::backend::select::Labels;
use crate::contract::kubernetes::{Eviction, ObjectChange};
use crate::contract::{Caller, Failure, FailureKind};

/// Evictions asked for at the same time.
const AT_A_TIME: usize = 16;
/// Pauses before a budget that seems to allow an eviction, and refused it, is tried again.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What is seen of a namespace while its Pods are evicted.
struct Space {
    /// Uids of its Pods by name; none: not seen yet.
    pods: watch::Sender<Option<HashMap<String, String>>>,
    /// How many disruptions each budget allows.
    budgets: watch::Sender<HashMap<String, i64>>,
    /// Whether a budget was in the way: only then budgets are watched.
    blocked: watch::Sender<bool>,
    /// Why the Pods cannot be seen.
    trouble: watch::Sender<Option<Failure>>,
}

impl Space {
    fn new() -> Self {
        Self {
            pods: watch::Sender::new(None),
            budgets: watch::Sender::default(),
            blocked: watch::Sender::new(false),
            trouble: watch::Sender::new(None),
        }
    }

    /// Watches Pods and, once one was in the way, budgets.
    async fn follow(&self, api: &Api, namespace: &str) {
        let namespace = encode(namespace);
        let pods = async {
            let path = format!("/api/v1/namespaces/{namespace}/pods");
            let see = |objects: &Objects| {
                let uids = objects.iter().map(|((_, name), pod)| (name.clone(), uid_of(pod).to_owned()));
                self.pods.send_replace(Some(uids.collect()));
                self.trouble.send_replace(None);
            };
            self.follow_all(api, path, true, see).await;
        };
        let budgets = async {
            if self.blocked.subscribe().wait_for(|blocked| *blocked).await.is_err() {
                return;
            }
            let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets");
            let see = |objects: &Objects| {
                let allowed = |budget| number(budget, "/status/disruptionsAllowed").unwrap_or_default();
                let budgets = objects.iter().map(|((_, name), budget)| (name.clone(), allowed(budget)));
                self.budgets.send_replace(budgets.collect());
            };
            self.follow_all(api, path, false, see).await;
        };
        tokio::join!(pods, budgets);
    }

    /// Watches for as long as it is asked to, however often the server goes away.
    async fn follow_all(&self, api: &Api, path: String, metadata_only: bool, mut see: impl FnMut(&Objects)) {
        let followed = Followed { path, labels: String::new(), fields: String::new(), metadata_only };
        loop {
            let seen = followed.until(api, |objects| {
                see(objects);
                Box::pin(std::future::ready(ControlFlow::<Infallible>::Continue(())))
            });
            let Err(failure) = seen.await;
            self.trouble.send_replace(Some(failure));
            tokio::time::sleep(LONGEST_PAUSE).await;
        }
    }

    /// Waits until a Pod is gone.
    ///
    /// # Errors
    /// When the server refuses to show Pods.
    async fn gone(&self, item: &Eviction) -> Result<(), Failure> {
        let (mut pods, mut trouble) = (self.pods.subscribe(), self.trouble.subscribe());
        let gone = |pods: &Option<HashMap<String, String>>| {
            pods.as_ref().is_some_and(|pods| pods.get(&item.name) != Some(&item.uid))
        };
        let refused = |trouble: &Option<Failure>| {
            trouble.as_ref().is_some_and(|failure| failure.kind != FailureKind::Unreachable)
        };
        tokio::select! {
            _ = pods.wait_for(gone) => Ok(()),
            found = trouble.wait_for(refused) => match found.ok().and_then(|failure| failure.clone()) {
                Some(failure) => Err(failure),
                None => Ok(()),
            },
        }
    }

    /// Waits until a budget allows a disruption, or is gone.
    async fn allowed(&self, budget: &str) {
        let mut budgets = self.budgets.subscribe();
        self.blocked.send_replace(true);
        // What was seen before the refusal says nothing: only a later state does, or none within a while.
        let allows = |budgets: &HashMap<String, i64>| budgets.get(budget).is_some_and(|allowed| *allowed > 0);
        let _ = tokio::time::timeout(LONGEST_PAUSE * 4, budgets.wait_for(allows)).await;
    }
}

/// The name in `The disruption budget web needs 2 healthy pods and has 2 currently` (k8s.io/kubernetes,
/// registry/core/pod/storage/eviction.go).
fn budget_in(message: &str) -> Option<&str> {
    message.strip_prefix("The disruption budget ")?.split(' ').next().filter(|name| !name.is_empty())
}

impl Api {
    /// Evicts Pods, all at the same time; an answer each.
    pub(super) async fn evict(&self, caller: &Caller, items: &[Eviction]) -> Vec<Result<ObjectChange, Trouble>> {
        let begun = Instant::now();
        let names: BTreeSet<&str> = items.iter().map(|item| item.namespace.as_str()).collect();
        let spaces: BTreeMap<&str, Space> = names.into_iter().map(|name| (name, Space::new())).collect();
        let permits = Semaphore::new(AT_A_TIME);
        let evicting = join_all(items.iter().map(|item| async {
            match spaces.get(item.namespace.as_str()) {
                Some(space) => self.evict_one(caller, item, space, &permits, begun).await,
                None => Err(failure::invalid("Pod", "a namespace nobody watches").into()),
            }
        }));
        let following = join_all(spaces.iter().map(|(namespace, space)| space.follow(self, namespace)));
        tokio::select! {
            answers = evicting => answers,
            // It has no end of its own.
            _ = following => Vec::new(),
        }
    }

    async fn evict_one(
        &self,
        caller: &Caller,
        item: &Eviction,
        space: &Space,
        permits: &Semaphore,
        begun: Instant,
    ) -> Result<ObjectChange, Trouble> {
        let title = title("Pod", &item.namespace, &item.name);
        path_part(&item.name, &title)?;
        path_part(&item.namespace, &title)?;
        let deadline = begun + Duration::from_millis(item.time_out.into());
        let request = request(item);
        let (mut lost, mut blocker, mut pause) = (None, None, PAUSE);
        loop {
            let answer = {
                let _permit = permits.acquire().await;
                self.send(&request, Repeat::Freely).await
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(Silence::Lost(why)) => {
                    lost = Some(why);
                    self.pause(caller, LONGEST_PAUSE, deadline).await?;
                    if Instant::now() >= deadline {
                        return Err(Trouble::InDoubt(lost.unwrap_or_default()));
                    }
                    continue;
                }
                Err(silence) => match lost {
                    Some(why) => return Err(Trouble::InDoubt(why)),
                    None => return Err(of_silence(&silence, &self.cluster).into()),
                },
            };
            match answer.status {
                200..300 => break,
                404 if !text(&answer.body, "/details/name").is_empty() => {
                    return Ok(ObjectChange { changed: lost.is_some(), id: None });
                }
                // Another Pod has its name; or its budget is being counted at this very moment.
                409 => {
                    let there = self.pod(item).await?;
                    if there.is_none_or(|pod| uid_of(&pod) != item.uid) {
                        return Ok(ObjectChange { changed: lost.is_some(), id: None });
                    }
                }
                429 => {
                    let budget = self.blocking(item, &answer).await?;
                    if blocker.as_ref() != Some(&budget) {
                        caller.show(&format!("{title} waits: {budget} does not allow its eviction at this time"));
                    }
                    let name = budget.rsplit('/').next().unwrap_or_default().to_owned();
                    blocker = Some(budget);
                    tokio::select! {
                        () = space.allowed(&name) => {}
                        gone = space.gone(item) => {
                            gone?;
                            return Ok(ObjectChange { changed: lost.is_some(), id: None });
                        }
                        () = tokio::time::sleep_until(deadline) => {}
                        () = caller.cancelled() => return Err(Trouble::Cancelled),
                    }
                }
                500 if answer.message().contains("more than one PodDisruptionBudget") => {
                    let there = self.pod(item).await?;
                    if there.is_none_or(|pod| uid_of(&pod) != item.uid) {
                        return Ok(ObjectChange { changed: lost.is_some(), id: None });
                    }
                    return Err(self.never(item, &title).await?.into());
                }
                _ => return Err(of_answer(&answer, &title, &self.cluster).into()),
            }
            self.pause(caller, pause, deadline).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if Instant::now() >= deadline {
                return Err(not_evicted(item, blocker).into());
            }
        }
        tokio::select! {
            gone = space.gone(item) => gone?,
            () = tokio::time::sleep_until(deadline) => return Err(not_evicted(item, None).into()),
            () = caller.cancelled() => return Err(Trouble::Cancelled),
        }
        Ok(ObjectChange { changed: true, id: None })
    }

    async fn pause(&self, caller: &Caller, pause: Duration, deadline: Instant) -> Result<(), Trouble> {
        tokio::select! {
            () = tokio::time::sleep_until((Instant::now() + pause).min(deadline)) => Ok(()),
            () = caller.cancelled() => Err(Trouble::Cancelled),
        }
    }

    async fn pod(&self, item: &Eviction) -> Result<Option<Value>, Failure> {
        let path = format!("/api/v1/namespaces/{}/pods/{}", encode(&item.namespace), encode(&item.name));
        let answer = self.read(&path).await?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            _ => Err(of_answer(&answer, &title("Pod", &item.namespace, &item.name), &self.cluster)),
        }
    }

    /// The budget that an answer is about.
    async fn blocking(&self, item: &Eviction, answer: &Answer) -> Result<String, Failure> {
        if let Some(name) = answer.causes().find_map(|(_, message, _)| budget_in(message)) {
            return Ok(title("PodDisruptionBudget", &item.namespace, name));
        }
        let selecting = self.selecting(item).await?;
        let in_the_way = selecting.iter().find(|(_, allowed)| *allowed == 0).or(selecting.first());
        Ok(in_the_way.map_or_else(|| "a PodDisruptionBudget".to_owned(), |(title, _)| title.clone()))
    }

    /// Budgets over a Pod, and how many disruptions each allows.
    async fn selecting(&self, item: &Eviction) -> Result<Vec<(String, i64)>, Failure> {
        let Some(pod) = self.pod(item).await? else { return Ok(Vec::new()) };
        let path = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", encode(&item.namespace));
        let mut answer = self.read(&path).await?;
        if !answer.is_success() {
            return Err(of_answer(&answer, "PodDisruptionBudget list", &self.cluster));
        }
        let budgets = super::read::items(&mut answer.body).into_iter();
        let selects = |budget: &Value| {
            let labels = Labels::of_object(budget.pointer("/spec/selector"));
            labels.is_some_and(|labels| labels.fit(pod.pointer("/metadata/labels")))
        };
        Ok(budgets
            .filter(selects)
            .map(|budget| {
                let title = title("PodDisruptionBudget", &item.namespace, text(&budget, "/metadata/name"));
                (title, number(&budget, "/status/disruptionsAllowed").unwrap_or_default())
            })
            .collect())
    }

    /// More than one budget is over a Pod: the API server never evicts it.
    async fn never(&self, item: &Eviction, title: &str) -> Result<Failure, Failure> {
        let budgets: Vec<String> = self.selecting(item).await?.into_iter().map(|(title, _)| title).collect();
        let message = format!(
            "{title} has more than one PodDisruptionBudget, which the eviction subresource does not support: {}",
            budgets.join(", ")
        );
        Ok(failure::conflict(title, message, budgets, None))
    }
}

fn request(item: &Eviction) -> Request {
    let mut options = json!({"preconditions": {"uid": item.uid}});
    if let Some(seconds) = item.grace_seconds {
        options["gracePeriodSeconds"] = seconds.into();
    }
    let body = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": item.name, "namespace": item.namespace},
        "deleteOptions": options,
    });
    let path = format!("/api/v1/namespaces/{}/pods/{}/eviction", encode(&item.namespace), encode(&item.name));
    Request::new(Method::POST, path).with(JSON, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_named_by_what_the_server_says() {
        assert_eq!(budget_in("The disruption budget web needs 2 healthy pods and has 2 currently"), Some("web"));
        assert_eq!(budget_in("The disruption budget a.b is still being processed by the server."), Some("a.b"));
        assert_eq!(budget_in("Too many requests"), None);
        assert_eq!(budget_in("The disruption budget "), None);
    }
}
