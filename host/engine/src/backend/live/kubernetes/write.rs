//! Objects changed: applied, patched, created, removed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::api::{Api, Repeat};
use super::failures::{Trouble, of_answer};
use super::ownership::taken_over;
use super::read::At;
use super::request::{Answer, JSON, Request, with_query};
use crate::backend::failure;
use crate::backend::live::secrets::Secrets;
use crate::backend::objects::{EFFECT, identity, is_ending, name_of, set, text, uid_of, unset};
use crate::contract::Failure;
use crate::contract::kubernetes::{
    ApplyOrder, CreateOrder, ObjectChange, ObjectKind, ObjectRef, PatchKind, PatchOrder, Precondition, Propagation,
    RemovalOrder, SecretField,
};
use crate::contract::types::Part;

/// Media types of patches.
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
/// How often fields are taken over anew when the object changes at the same time.
const ATTEMPTS: usize = 5;

/// The version of an object.
fn version(object: &Value) -> &str {
    text(object, "/metadata/resourceVersion")
}

/// Whether an object is the one that a precondition wants.
fn check(live: Option<&Value>, wanted: Option<&Precondition>, title: &str) -> Result<(), Failure> {
    let Some(wanted) = wanted else { return Ok(()) };
    let another = |found: Option<String>| {
        let message = match &found {
            Some(_) => format!("{title} is another one than expected"),
            None => format!("{title} is not there"),
        };
        Err(failure::conflict(title, message, vec![title.to_owned()], found))
    };
    let Some(live) = live else { return another(None) };
    for (wanted, found) in [(&wanted.uid, uid_of(live)), (&wanted.resource_version, version(live))] {
        if wanted.as_deref().is_some_and(|wanted| wanted != found) {
            return another(Some(found.to_owned()));
        }
    }
    Ok(())
}

/// Writes into a body what the server shall check when it takes it.
fn demand(body: &mut Value, uid: Option<&str>, version: Option<&str>) {
    for (pointer, value) in [("/metadata/uid", uid), ("/metadata/resourceVersion", version)] {
        if let Some(value) = value {
            set(body, pointer, value.into());
        }
    }
}

impl Api {
    /// Sends a write.
    async fn write(&self, request: &Request, repeat: Repeat) -> Result<Answer, Trouble> {
        self.send(request, repeat).await.map_err(|silence| Trouble::of_write(silence, &self.cluster))
    }

    /// An object's text, checked, with its secrets filled in.
    async fn written(&self, body: &str, fields: &[SecretField], secrets: &Secrets) -> Result<(At, Value), Failure> {
        let mut object: Value = serde_json::from_str(body)
            .map_err(|error| failure::invalid(&self.cluster, format!("the object is not JSON: {error}")))?;
        let kind = ObjectKind {
            api_version: text(&object, "/apiVersion").to_owned(),
            name: text(&object, "/kind").to_owned(),
        };
        let given = Some(text(&object, "/metadata/namespace").to_owned()).filter(|namespace| !namespace.is_empty());
        let reference =
            ObjectRef { cluster: self.cluster.clone(), kind, namespace: given, name: name_of(&object).to_owned() };
        let at = self.at(&reference).await?;
        if reference.namespace.is_some() && at.namespace.is_empty() {
            return Err(failure::invalid(at.title(), format!("{} is not namespaced", at.kind.name())));
        }
        unset(&mut object, "/metadata/managedFields");
        for field in fields {
            let value = secrets.join(&[Part::Secret(field.secret.clone())]).await?;
            let value = match at.kind.name() == "Secret" && field.pointer.starts_with("/data/") {
                true => STANDARD.encode(value),
                false => String::from_utf8(value)
                    .map_err(|_| failure::invalid(at.title(), format!("what goes to {} is no text", field.pointer)))?,
            };
            set(&mut object, &field.pointer, value.into());
        }
        Ok((at, object))
    }

    /// The failure of a write. A conflict says what was found there.
    async fn refused(&self, answer: &Answer, at: &At) -> Trouble {
        let title = at.title();
        if answer.status == 404 {
            // It, its namespace or its kind.
            let missing = text(&answer.body, "/details/kind");
            if missing.is_empty() {
                self.forget_kinds().await;
                return self.not_served(&at.kind.served.kind).into();
            }
            if missing == "namespaces" {
                let message = format!("namespace {} is not in {}", at.namespace, self.cluster);
                return failure::not_found(title, message).into();
            }
            return self.none(&title).into();
        }
        if answer.causes().any(|(_, _, field)| field == "metadata.uid") {
            // Another one has its name since it was looked at.
            let found = self.find(at).await.ok().flatten().map(|found| uid_of(&found).to_owned());
            return failure::conflict(
                &title,
                format!("{title} is another one than expected"),
                vec![title.clone()],
                found,
            )
            .into();
        }
        let mut refusal = of_answer(answer, &title, &self.cluster);
        if let crate::contract::FailureKind::Conflict(conflict) = &mut refusal.kind
            && conflict.blockers == [title.as_str()]
            && let Ok(Some(found)) = self.find(at).await
        {
            let by_uid = answer.message().contains("UID in precondition") || answer.reason() == "AlreadyExists";
            conflict.found = Some(if by_uid { uid_of(&found) } else { version(&found) }.to_owned());
        }
        refusal.into()
    }

    /// Server-side apply.
    pub(super) async fn apply(
        &self,
        order: &ApplyOrder,
        manager: &str,
        secrets: &Secrets,
    ) -> Result<ObjectChange, Trouble> {
        let (at, mut body) = self.written(&order.body, &order.secrets, secrets).await?;
        let mut live = self.find(&at).await?;
        let before = live.as_ref().map(|live| version(live).to_owned());
        check(live.as_ref(), order.precondition.as_ref(), &at.title())?;
        let uid = order.precondition.as_ref().and_then(|wanted| wanted.uid.as_deref());
        let exact = order.precondition.as_ref().is_some_and(|wanted| wanted.resource_version.is_some());
        if let Some(found) = live.take() {
            live = Some(self.take_over(&at, found, manager, &order.take_over, exact).await?);
        }
        let version_now = live.as_ref().map(version).filter(|_| exact);
        demand(&mut body, uid, version_now);
        let force = if order.force { "true" } else { "" };
        let path = with_query(&at.path(), &[("fieldManager", manager), ("force", force)]);
        let repeat = if exact { Repeat::UntilBegun } else { Repeat::Freely };
        let answer = self.write(&Request::new(Method::PATCH, path).with(APPLY, &body), repeat).await?;
        self.changed(&answer, &at, before.as_deref()).await
    }

    /// Gives a manager the fields of others; answers the object as it then is.
    async fn take_over(
        &self,
        at: &At,
        live: Value,
        manager: &str,
        from: &[String],
        exact: bool,
    ) -> Result<Value, Trouble> {
        let mut live = live;
        for attempt in 1.. {
            let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            let api_version = &at.kind.served.kind.api_version;
            let Some(fields) = taken_over(&live, manager, api_version, from, &now) else { break };
            let patch = json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": version(&live)},
                {"op": "replace", "path": "/metadata/managedFields", "value": fields},
            ]);
            let request = Request::new(Method::PATCH, at.path()).with(JSON_PATCH, &patch);
            let answer = self.write(&request, Repeat::Freely).await?;
            if answer.is_success() {
                return Ok(answer.body);
            }
            // Its version changed meanwhile: the test of the patch fails with 422, the store's own with 409.
            let changed = matches!(answer.status, 409 | 422);
            if !changed || exact || attempt >= ATTEMPTS {
                return Err(self.refused(&answer, at).await);
            }
            live = self.find(at).await?.ok_or_else(|| self.none(&at.title()))?;
        }
        Ok(live)
    }

    /// The answer to a write.
    async fn changed(&self, answer: &Answer, at: &At, before: Option<&str>) -> Result<ObjectChange, Trouble> {
        if !answer.is_success() {
            return Err(self.refused(answer, at).await);
        }
        let changed = before != Some(version(&answer.body));
        let mut id = identity(&answer.body);
        id.name.clone_from(&at.name);
        Ok(ObjectChange { changed, id: Some(id) })
    }

    /// Merge and strategic merge patches.
    pub(super) async fn patch(&self, order: &PatchOrder, manager: &str) -> Result<ObjectChange, Trouble> {
        let at = self.at(&order.object).await?;
        let title = at.title();
        let mut body: Value = serde_json::from_str(&order.body)
            .map_err(|error| failure::invalid(&title, format!("the patch is not JSON: {error}")))?;
        if !body.is_object() {
            return Err(failure::invalid(&title, "the patch is no JSON object").into());
        }
        let path = match order.subresource.as_deref() {
            None => at.path(),
            Some(part @ ("status" | "scale")) => format!("{}/{part}", at.path()),
            Some(other) => return Err(failure::invalid(&title, format!("there is no subresource {other:?}")).into()),
        };
        let content = match order.patch {
            PatchKind::Merge => MERGE,
            PatchKind::Strategic if at.kind.is_built_in() => STRATEGIC,
            PatchKind::Strategic => {
                return Err(failure::invalid(&title, "strategic patches are for built-in kinds only").into());
            }
        };
        for pointer in ["/metadata/name", "/metadata/namespace", "/apiVersion", "/kind"] {
            let wanted = match pointer {
                "/metadata/name" => at.name.as_str(),
                "/metadata/namespace" => &at.namespace,
                "/apiVersion" => &order.object.kind.api_version,
                _ => at.kind.name(),
            };
            if body.pointer(pointer).is_some_and(|value| value != wanted) {
                return Err(failure::invalid(&title, format!("{pointer} cannot be changed")).into());
            }
        }
        let live = self.find(&at).await?.ok_or_else(|| self.none(&title))?;
        check(Some(&live), order.precondition.as_ref(), &title)?;
        let wanted = order.precondition.as_ref();
        let exact = wanted.and_then(|wanted| wanted.resource_version.as_deref());
        demand(&mut body, wanted.and_then(|wanted| wanted.uid.as_deref()), exact);
        let request = Request::new(Method::PATCH, with_query(&path, &[("fieldManager", manager)])).with(content, &body);
        let repeat = if exact.is_some() { Repeat::UntilBegun } else { Repeat::Freely };
        let answer = self.write(&request, repeat).await?;
        self.changed(&answer, &at, Some(version(&live))).await
    }

    /// Creates an object and marks it with the effect's id, by which it is known again.
    pub(super) async fn create(
        &self,
        order: &CreateOrder,
        manager: &str,
        effect: Option<&str>,
        secrets: &Secrets,
    ) -> Result<ObjectChange, Trouble> {
        let (at, mut body) = self.written(&order.body, &order.secrets, secrets).await?;
        if let Some(effect) = effect {
            set(&mut body, EFFECT, effect.into());
        }
        let path = with_query(&at.kind.path(&at.namespace), &[("fieldManager", manager)]);
        // Marked, a second one is told from the first: it is refused, and the object says whose it is.
        let repeat = if effect.is_some() { Repeat::Freely } else { Repeat::UntilBegun };
        let answer = self.write(&Request::new(Method::POST, path).with(JSON, &body), repeat).await?;
        if answer.reason() == "AlreadyExists"
            && let Some(there) = self.find(&at).await?
        {
            if effect.is_some_and(|effect| text(&there, EFFECT) == effect) {
                return Ok(ObjectChange { changed: true, id: Some(identity(&there)) });
            }
            let title = at.title();
            return Err(failure::conflict(
                &title,
                format!("{title} is in {} already", self.cluster),
                vec![title.clone()],
                Some(uid_of(&there).to_owned()),
            )
            .into());
        }
        self.changed(&answer, &at, None).await
    }

    /// Removes an object.
    pub(super) async fn remove(&self, order: &RemovalOrder) -> Result<ObjectChange, Trouble> {
        let at = self.at(&order.object).await?;
        let Some(live) = self.find(&at).await? else {
            return Ok(ObjectChange { changed: false, id: None });
        };
        check(Some(&live), order.precondition.as_ref(), &at.title())?;
        let propagation = match order.propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        };
        // What was judged is what goes, even when another one takes its name meanwhile.
        let mut options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation,
            "preconditions": {"uid": uid_of(&live)},
        });
        if let Some(version) = order.precondition.as_ref().and_then(|wanted| wanted.resource_version.as_deref()) {
            set(&mut options, "/preconditions/resourceVersion", version.into());
        }
        if let Some(seconds) = order.grace_seconds {
            set(&mut options, "/gracePeriodSeconds", seconds.into());
        }
        let request = Request::new(Method::DELETE, at.path()).with(JSON, &options);
        let answer = self.write(&request, Repeat::Freely).await?;
        // Gone meanwhile, or with a request whose answer was lost, or replaced by another one: it is not there.
        let gone = answer.status == 404 && !text(&answer.body, "/details/name").is_empty();
        let left = self.find(&at).await;
        let left = left.map_err(|failure| Trouble::InDoubt(failure.message))?;
        let left = left.filter(|left| uid_of(left) == uid_of(&live));
        if !answer.is_success() && !gone && left.is_some() {
            return Err(self.refused(&answer, &at).await);
        }
        Ok(ObjectChange { changed: !is_ending(&live) || left.is_none(), id: left.as_ref().map(identity) })
    }
}
