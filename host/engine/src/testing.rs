//! Scripted stand-ins for the engine's own tests: a platform that answers what it is told and counts what it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indexmap::IndexMap;
use runner_types::{
    AnsweredBy, ApiVersion, Connection, Digest, EventKind, FileDigest, FormatVersion, Inventory, Line, Operation,
    Operator, Policy, PromptSpec, RunHeader, SecretSource, SourceFile, Target, Timestamp,
};
use serde_json::Value;

use crate::artifacts::{DirectoryStore, Store};
use crate::backend::live::process::ProcessShell;
use crate::backend::live::secrets::Secrets;
use crate::backend::live::{LiveHost, LiveRunner};
use crate::contract::systemd::{
    Capability as Systemd, DropIn, DropInRef, JournalExcerpt, JournalQuery, RestartOrder, UnitChange, UnitOrder,
    UnitQuery, UnitRef, UnitStatus,
};
use crate::contract::{
    Backend, Caller, Cut, Failure, FailureKind, InDoubt, Performed, Place, RetryAdvice, Unsupported,
};
use crate::gate::{Answer, Ask, Asked, Attempt, AttemptSpec, Gate, Nobody, Observer, Platform, Reply, Wanted};
use crate::journal::Journal;

/// Units of hosts, by `host/unit`, and everything that was asked of them.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) active: Mutex<BTreeMap<String, bool>>,
    pub(crate) performed: Mutex<Vec<String>>,
    /// Hosts that do not answer.
    pub(crate) unreachable: Mutex<Vec<String>>,
    /// Units whose jobs fail.
    pub(crate) failing: Mutex<Vec<String>>,
    /// Units whose jobs end in doubt.
    pub(crate) doubtful: Mutex<Vec<String>>,
    /// How long each write takes.
    pub(crate) takes: Mutex<Duration>,
    /// How long each read takes.
    pub(crate) reads_take: Mutex<Duration>,
    /// Symbolic links by path; one that leads to an empty text cannot be followed.
    pub(crate) links: Mutex<BTreeMap<String, String>>,
}

impl Script {
    pub(crate) fn performed(&self) -> Vec<String> {
        self.performed.lock().unwrap().clone()
    }

    fn status_of(&self, host: &str, unit: &str) -> UnitStatus {
        let active = self.active.lock().unwrap().get(&format!("{host}/{unit}")).copied().unwrap_or(false);
        UnitStatus {
            unit: unit.to_owned(),
            load_state: "loaded".to_owned(),
            active_state: if active { "active" } else { "inactive" }.to_owned(),
            sub_state: String::new(),
            file_state: "enabled".to_owned(),
            outcome: "success".to_owned(),
            since: None,
            needs_daemon_reload: false,
            drop_ins: Vec::new(),
            more: Vec::new(),
        }
    }

    async fn change(&self, orders: Vec<(String, String)>, to: bool, verb: &str) -> Performed<UnitChange> {
        let mut answers: Vec<Result<UnitChange, Failure>> = Vec::new();
        for (host, unit) in orders {
            if answers.last().is_some_and(Result::is_err) {
                answers.push(Err(failure(FailureKind::NotAttempted, &unit)));
                continue;
            }
            if self.unreachable.lock().unwrap().contains(&host) {
                answers.push(Err(failure(FailureKind::Unreachable, &host)));
                continue;
            }
            let takes = *self.takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            self.performed.lock().unwrap().push(format!("{verb} {host}/{unit}"));
            if self.doubtful.lock().unwrap().contains(&unit) {
                let message = "the connection was lost".to_owned();
                return Err(Cut::after(&mut answers, InDoubt { item: 0, message }));
            }
            if self.failing.lock().unwrap().contains(&unit) {
                let exit = crate::contract::types::Exit { code: Some(1), signal: None, tail: "no".to_owned() };
                answers.push(Err(failure(FailureKind::Failed(exit), &unit)));
                continue;
            }
            let before = self.active.lock().unwrap().insert(format!("{host}/{unit}"), to);
            answers.push(Ok(UnitChange { changed: before != Some(to), status: self.status_of(&host, &unit) }));
        }
        Ok(answers)
    }
}

fn failure(kind: FailureKind, subject: &str) -> Failure {
    Failure { kind, retry: RetryAdvice::Later, subject: subject.to_owned(), message: format!("{subject} failed") }
}

/// The script as a backend.
#[derive(Clone)]
pub(crate) struct Scripted(pub(crate) Arc<Script>);

impl Backend for Scripted {
    fn systemd(&self) -> &dyn Systemd {
        self
    }

    fn real_paths<'a>(
        &'a self,
        _place: &'a Place,
        paths: Vec<String>,
    ) -> futures::future::BoxFuture<'a, Vec<Result<String, Failure>>> {
        let links = self.0.links.lock().unwrap().clone();
        let real = move |path: String| match links.get(&path).map(String::as_str) {
            Some("") => Err(crate::backend::failure::unreachable("a", "it does not tell")),
            Some(real) => Ok(real.to_owned()),
            None => Ok(path),
        };
        Box::pin(async move { paths.into_iter().map(real).collect() })
    }
}

#[async_trait::async_trait]
impl Systemd for Scripted {
    async fn status(&self, _place: &Place, _caller: &Caller, items: Vec<UnitRef>) -> Performed<UnitStatus> {
        let takes = *self.0.reads_take.lock().unwrap();
        tokio::time::sleep(takes).await;
        Ok(items
            .into_iter()
            .map(|item| {
                if self.0.unreachable.lock().unwrap().contains(&item.host) {
                    return Err(failure(FailureKind::Unreachable, &item.host));
                }
                Ok(self.0.status_of(&item.host, &item.unit))
            })
            .collect())
    }

    async fn start(&self, _place: &Place, _caller: &Caller, items: Vec<UnitOrder>) -> Performed<UnitChange> {
        self.0.change(items.into_iter().map(|item| (item.host, item.unit)).collect(), true, "start").await
    }

    async fn stop(&self, _place: &Place, _caller: &Caller, items: Vec<UnitOrder>) -> Performed<UnitChange> {
        self.0.change(items.into_iter().map(|item| (item.host, item.unit)).collect(), false, "stop").await
    }

    async fn restart(&self, _place: &Place, _caller: &Caller, items: Vec<RestartOrder>) -> Performed<UnitChange> {
        self.0.change(items.into_iter().map(|item| (item.host, item.unit)).collect(), true, "restart").await
    }

    async fn find(&self, place: &Place, caller: &Caller, items: Vec<UnitQuery>) -> Performed<Vec<UnitStatus>> {
        Systemd::find(&Unsupported, place, caller, items).await
    }
    async fn journal(&self, place: &Place, caller: &Caller, items: Vec<JournalQuery>) -> Performed<JournalExcerpt> {
        Systemd::journal(&Unsupported, place, caller, items).await
    }
    async fn reload(&self, place: &Place, caller: &Caller, items: Vec<UnitOrder>) -> Performed<UnitChange> {
        Systemd::reload(&Unsupported, place, caller, items).await
    }
    async fn enable(&self, place: &Place, caller: &Caller, items: Vec<UnitRef>) -> Performed<UnitChange> {
        Systemd::enable(&Unsupported, place, caller, items).await
    }
    async fn disable(&self, place: &Place, caller: &Caller, items: Vec<UnitRef>) -> Performed<UnitChange> {
        Systemd::disable(&Unsupported, place, caller, items).await
    }
    async fn write_drop_in(&self, place: &Place, caller: &Caller, items: Vec<DropIn>) -> Performed<bool> {
        Systemd::write_drop_in(&Unsupported, place, caller, items).await
    }
    async fn remove_drop_in(&self, place: &Place, caller: &Caller, items: Vec<DropInRef>) -> Performed<bool> {
        Systemd::remove_drop_in(&Unsupported, place, caller, items).await
    }
    async fn daemon_reload(&self, place: &Place, caller: &Caller, items: Vec<String>) -> Performed<()> {
        Systemd::daemon_reload(&Unsupported, place, caller, items).await
    }
}

/// Answers every question with yes, or with nobody.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) present: bool,
    pub(crate) yes: bool,
}

#[async_trait::async_trait]
impl Ask for Console {
    async fn ask(&self, asked: Asked) -> Result<Answer, Nobody> {
        if !self.present {
            return Err(Nobody { option: None });
        }
        let reply = match asked.wanted {
            Wanted::Confirm { .. } => {
                if self.yes {
                    Reply::Yes
                } else {
                    Reply::No
                }
            }
            Wanted::Pause => Reply::Entered,
            Wanted::Choose { .. } => Reply::Chosen(0),
        };
        let by = AnsweredBy::Operator { who: operator(), terminal: None };
        Ok(Answer { reply, by })
    }
}

/// Keeps all events.
#[derive(Debug, Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<EventKind>>);

impl Observer for Events {
    fn observe(&self, event: EventKind) {
        self.0.lock().unwrap().push(event);
    }
}

fn operator() -> Operator {
    Operator { user: "ann".to_owned(), host: "bastion".to_owned() }
}

/// Value of the inventory's secret `db`.
pub(crate) const SECRET: &str = "s3c\"ret!";
/// An attempt of the plugin `p` over the host a, with these requests.
pub(crate) fn spec(requests: Value) -> AttemptSpec {
    AttemptSpec {
        id: runner_types::Attempt { step: "s".to_owned(), target: Target::Host("a".to_owned()), attempt: 1 },
        plugin: "p".to_owned(),
        operation: Operation::Update,
        reads_only: false,
        hosts: vec!["a".to_owned()],
        cluster: None,
        requests: serde_json::from_value(requests).unwrap(),
        prompts: Vec::new(),
        saved: Vec::new(),
    }
}

/// A gate over a scripted platform of the hosts a, b and c, in a directory of its own.
pub(crate) struct Bench {
    _home: tempfile::TempDir,
    pub(crate) script: Arc<Script>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) events: Arc<Events>,
}

pub(crate) fn header() -> RunHeader {
    RunHeader {
        format: FormatVersion::CURRENT,
        runner: "test".to_owned(),
        api: ApiVersion::new(0, 1, 0),
        run: "r".to_owned(),
        stamp: Timestamp::from_unix_millis(0),
        seed: 1,
        platform: "p".to_owned(),
        workflows: Vec::new(),
        inputs: IndexMap::new(),
        inventory: SourceFile { path: "i".to_owned(), digest: Digest::zero(), content: Value::Null },
        releases: None,
        plugins: IndexMap::new(),
        policy: FileDigest { path: "p".to_owned(), digest: Digest::zero() },
        operator: operator(),
        started: Timestamp::from_unix_millis(0),
    }
}

pub(crate) fn inventory() -> Inventory {
    serde_json::from_value(serde_json::json!({
        "hosts": {"a": {}, "b": {}, "c": {}},
        "groups": {"ab": {"hosts": ["a", "b"]}},
        "connection": "simulated"
    }))
    .unwrap()
}

impl Bench {
    pub(crate) fn new(policy: Value, console: Console) -> Self {
        Self::with(policy, console, |_, _| ())
    }

    /// One with a store that plugins can use.
    pub(crate) fn storing(policy: Value, console: Console) -> Self {
        Self::with(policy, console, |platform, store| {
            let (secrets, store) = (Arc::clone(&platform.secrets), Arc::clone(store));
            platform.runner_backend = Arc::new(LiveRunner { secrets, store });
        })
    }

    /// One where the host a is this machine.
    pub(crate) fn here(policy: Value) -> Self {
        Self::with(policy, Console { present: true, yes: true }, |platform, store| {
            let (shell, secrets) = (Arc::new(ProcessShell { effects: None }), Arc::clone(&platform.secrets));
            let host =
                LiveHost { name: "a".to_owned(), shell, secrets: Arc::clone(&secrets), store: Arc::clone(store) };
            platform.host_backends.insert("a".to_owned(), Arc::new(host));
            platform.runner_backend = Arc::new(LiveRunner { secrets, store: Arc::clone(store) });
        })
    }

    fn with(policy: Value, console: Console, change: impl FnOnce(&mut Platform, &Arc<dyn Store>)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let journal = Journal::create(&home.path().join("runs/r"), &header()).unwrap();
        let script = Arc::new(Script::default());
        let backend: Arc<dyn Backend> = Arc::new(Scripted(Arc::clone(&script)));
        let hosts = inventory().resolve().hosts;
        let store: Arc<dyn Store> = Arc::new(DirectoryStore::open(&home.path().join("store")).unwrap());
        assert!(hosts.values().all(|host| host.connection == Connection::Simulated));
        let source = SecretSource::Command(["printf", "%s", SECRET].map(str::to_owned).to_vec());
        let secrets = Secrets::new(&IndexMap::from([("db".to_owned(), source)]), home.path());
        let mut platform = Platform {
            host_backends: hosts.keys().map(|name| (name.clone(), Arc::clone(&backend))).collect(),
            hosts,
            cluster_backends: BTreeMap::new(),
            secrets: Arc::new(secrets),
            runner_backend: backend,
        };
        let events = Arc::new(Events::default());
        let policy: Policy = serde_json::from_value(serde_json::json!({ "grants": policy })).unwrap();
        change(&mut platform, &store);
        let gate = Gate::new(
            Arc::new(journal),
            Arc::new(platform),
            Arc::new(policy),
            store,
            Arc::clone(&events) as Arc<dyn Observer>,
            Arc::new(console),
            1,
        );
        Self { _home: home, script, gate: Arc::new(gate), events }
    }

    /// An attempt of the plugin `p` over the host a, with these requests.
    pub(crate) fn attempt(&self, requests: Value) -> Arc<Attempt> {
        self.attempt_as(requests, Operation::Update, Vec::new())
    }

    pub(crate) fn attempt_as(&self, requests: Value, operation: Operation, prompts: Vec<PromptSpec>) -> Arc<Attempt> {
        self.attempt_of(AttemptSpec {
            operation,
            reads_only: operation == Operation::Verify,
            prompts,
            ..spec(requests)
        })
    }

    pub(crate) fn attempt_of(&self, spec: AttemptSpec) -> Arc<Attempt> {
        Attempt::new(Arc::clone(&self.gate), spec)
    }

    /// What is in the journal's file by now.
    pub(crate) fn lines(&self) -> Vec<Line> {
        crate::journal::read(self.gate.journal.directory()).unwrap().lines
    }
}
