//! The backend under test, and what every test does with it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use futures::future::BoxFuture;
use indexmap::IndexMap;
use runner_engine::backend::live::kubernetes::{Kubeconfig, LiveCluster};
use runner_engine::backend::live::secrets::Secrets;
use runner_engine::contract::kubernetes::*;
use runner_engine::contract::{Backend as _, Caller, Failure, Listener, Performed, Place};
use runner_types::{CallId, SecretSource, Target};
use serde_json::Value;

use super::server::Server;

pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) cluster: LiveCluster,
}

struct Nobody;

impl Listener for Nobody {
    fn show(&self, _message: &str) {}
    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The plugin of a component, in its first attempt.
pub(crate) fn caller(component: &str) -> Caller {
    let target = Target::Cluster("main".to_owned());
    let call = CallId { step: "s".to_owned(), target, attempt: 1, index: 3 };
    Caller::plugin(component, "run-1", call, vec![7], Arc::new(Nobody))
}

pub(crate) fn cluster(server: &Server, token: Option<&str>) -> Result<LiveCluster> {
    let path = match token {
        Some(token) => server.kubeconfig(token)?,
        None => server.admin()?,
    };
    connected(&path)
}

pub(crate) fn connected(kubeconfig: &Path) -> Result<LiveCluster> {
    let mut sources = IndexMap::new();
    sources.insert("db".to_owned(), SecretSource::Command(["printf", "gehe\\nim"].map(str::to_owned).to_vec()));
    let secrets = Arc::new(Secrets::new(&sources, Path::new("/")));
    Ok(LiveCluster::new("main", Kubeconfig::open(Some(kubeconfig), None)?, secrets))
}

pub(crate) fn place() -> Place {
    Place::Cluster("main".to_owned())
}

pub(crate) fn kind(text: &str) -> ObjectKind {
    let (api_version, name) = text.split_once(' ').unwrap_or(("v1", text));
    ObjectKind { api_version: api_version.to_owned(), name: name.to_owned() }
}

pub(crate) fn reference(of: &str, name: &str) -> ObjectRef {
    ObjectRef {
        cluster: "main".to_owned(),
        kind: kind(of),
        namespace: Some("default".to_owned()),
        name: name.to_owned(),
    }
}

pub(crate) fn selection(of: &str, labels: &str) -> Selection {
    Selection {
        cluster: "main".to_owned(),
        kind: kind(of),
        namespace: Some("default".to_owned()),
        labels: labels.to_owned(),
        fields: String::new(),
    }
}

/// The only answer of a call that is not in doubt.
pub(crate) fn one<A>(answers: Performed<A>) -> Result<Result<A, Failure>> {
    let answers = answers.map_err(|stop| anyhow!("{stop}"))?;
    answers.into_iter().next().context("no answer")
}

/// The failure that an answer must be.
pub(crate) fn refused<A: std::fmt::Debug>(answer: Result<A, Failure>) -> Result<Failure> {
    match answer {
        Err(failure) => Ok(failure),
        Ok(answer) => Err(anyhow!("it succeeded: {answer:?}")),
    }
}

/// What an answer must bring.
pub(crate) fn done<A>(answer: Result<A, Failure>) -> Result<A> {
    answer.map_err(|failure| anyhow!("{failure:?}"))
}

impl Bench {
    pub(crate) fn new(server: Server) -> Result<Self> {
        let cluster = cluster(&server, None)?;
        Ok(Self { server, cluster })
    }

    pub(crate) fn kubernetes(&self) -> &dyn Capability {
        self.cluster.kubernetes()
    }

    pub(crate) async fn get(&self, of: &str, name: &str) -> Result<Result<Value, Failure>> {
        let answer = one(self.kubernetes().get(&place(), &Caller::runner(), vec![reference(of, name)]).await)?;
        Ok(match answer {
            Ok(object) => Ok(serde_json::from_str(&object.body)?),
            Err(failure) => Err(failure),
        })
    }

    pub(crate) async fn apply(
        &self,
        component: &str,
        body: &Value,
        force: bool,
        take_over: &[&str],
    ) -> Result<Result<ObjectChange, Failure>> {
        let order = ApplyOrder {
            cluster: "main".to_owned(),
            body: body.to_string(),
            secrets: Vec::new(),
            force,
            take_over: take_over.iter().map(|name| (*name).to_owned()).collect(),
            precondition: None,
        };
        one(self.kubernetes().apply(&place(), &caller(component), vec![order]).await)
    }

    pub(crate) async fn patch(
        &self,
        object: ObjectRef,
        body: &Value,
        precondition: Option<Precondition>,
    ) -> Result<Result<ObjectChange, Failure>> {
        let order =
            PatchOrder { object, patch: PatchKind::Merge, body: body.to_string(), subresource: None, precondition };
        one(self.kubernetes().patch(&place(), &caller("flannel"), vec![order]).await)
    }

    pub(crate) async fn wait(
        &self,
        subject: Subject,
        condition: &str,
        time_out: u32,
    ) -> Result<Result<Vec<Object>, Failure>> {
        let order = WaitOrder { subject, condition: condition.to_owned(), keep: Vec::new(), time_out, forecast: None };
        one(self.kubernetes().wait_for(&place(), &caller("flannel"), vec![order]).await)
    }
}
