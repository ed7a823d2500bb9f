//! Secrets on their way through the gate: who may use one, and what comes back of its value.

use super::*;
use crate::contract::types::{EffectClass, Part};
use crate::contract::{Failure, Function, exec, files, http, kubernetes, secrets};
use crate::testing::SECRET;

const HANDLE: &str = "secret:db";

fn open_db() -> Value {
    json!({"plugin": "p", "allow": "secrets.open", "secrets": ["d*"]})
}

/// What lets a plugin run shell commands, read and write below `folder`, and ask this machine.
fn powers(folder: &str) -> Vec<Value> {
    let paths = [format!("{folder}/**")];
    vec![
        json!({"plugin": "p", "allow": "exec.run", "argv": ["sh", "-c", "*"], "effects": ["read", "write-once"]}),
        json!({"plugin": "p", "allow": "files.write", "paths": paths}),
        json!({"plugin": "p", "allow": "files.read", "paths": paths}),
        json!({"plugin": "p", "allow": "http.get", "urls": ["http://127.0.0.1:1/**"]}),
        json!({"plugin": "p", "allow": "http.send", "urls": ["http://127.0.0.1:1/**"], "methods": ["POST"]}),
    ]
}

fn with(lines: &[Value], more: Value) -> Value {
    Value::from([lines, &[more]].concat())
}

fn shell(text: &str, stdin: Vec<Part>) -> exec::Command {
    exec::Command {
        host: "a".to_owned(),
        argv: ["sh", "-c", text].map(str::to_owned).to_vec(),
        effect: EffectClass::Read,
        key: String::new(),
        stdin,
        time_out: 10_000,
        forecast: None,
        options: None,
    }
}

fn carrying(handle: &str) -> Vec<Part> {
    vec![Part::Text("a=".to_owned()), Part::Secret(handle.to_owned())]
}

fn written_to(path: String, content: Vec<Part>) -> files::WriteOrder {
    let precondition = files::Precondition::Anything;
    files::WriteOrder { host: "a".to_owned(), path, content, precondition, attributes: None, sensitive: false }
}

fn request(headers: Vec<http::Header>) -> http::Request {
    let url = "http://127.0.0.1:1/x".to_owned();
    http::Request { url, headers, via: None, trust: None, time_out: 1_000, body_limit: 0, forecast: None }
}

fn header(handle: &str) -> http::Header {
    http::Header { name: "X-Token".to_owned(), value: carrying(handle) }
}

fn submission(request: http::Request, body: Vec<Part>) -> http::Submission {
    let (method, key) = ("POST".to_owned(), String::new());
    http::Submission { request, method, body, effect: EffectClass::Read, key }
}

fn denial<A: std::fmt::Debug>(answer: &Result<A, Failure>) -> crate::contract::types::Denial {
    match &answer.as_ref().unwrap_err().kind {
        FailureKind::Denied(denial) => denial.clone(),
        other => panic!("{other:?}: {answer:?}"),
    }
}

async fn open(attempt: &std::sync::Arc<Attempt>) {
    let answers = attempt.call::<secrets::Open>(vec![secrets::SecretRef { name: "db".to_owned() }]).await.unwrap();
    assert_eq!(answers[0].as_deref(), Ok(HANDLE));
}

/// Everything that the journal's files hold.
async fn journal(bench: &Bench) -> String {
    written(bench).await;
    let files = std::fs::read_dir(bench.gate.journal.directory()).unwrap();
    files.map(|file| String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned()).collect()
}

#[tokio::test]
async fn a_secret_is_a_handle_and_must_be_granted_and_known() {
    let policy = json!([open_db()]);
    let bench = Bench::new(policy.clone(), PRESENT);
    let attempt = bench.attempt(policy);
    let named = |name: &str| secrets::SecretRef { name: name.to_owned() };
    let answers = attempt.call::<secrets::Open>(vec![named("db"), named("dbx"), named("root")]).await.unwrap();
    assert_eq!(answers[0].as_deref(), Ok(HANDLE));
    assert!(answers[1].as_ref().unwrap_err().message.contains("did you mean \"db\""));
    assert!(matches!(answers[2].as_ref().unwrap_err().kind, FailureKind::Denied(_)));
}

#[tokio::test]
async fn a_handle_that_nobody_opened_is_denied_wherever_it_is_carried() {
    let folder = tempfile::tempdir().unwrap();
    let powers = powers(&folder.path().display().to_string());
    let bench = Bench::here(Value::from(powers.clone()));
    let attempt = bench.attempt(Value::from(powers.clone()));
    let path = folder.path().join("x");
    let order = written_to(path.display().to_string(), carrying(HANDLE));
    let denials = [
        denial(&attempt.call::<exec::Run>(vec![shell("cat", carrying(HANDLE))]).await.unwrap()[0]),
        denial(&attempt.call::<files::Write>(vec![order.clone()]).await.unwrap()[0]),
        denial(&attempt.call::<http::Get>(vec![request(vec![header(HANDLE)])]).await.unwrap()[0]),
        denial(&attempt.call::<http::Send>(vec![submission(request(vec![]), carrying(HANDLE))]).await.unwrap()[0]),
    ];
    for denial in denials {
        assert_eq!((denial.capability.as_str(), denial.grant.as_str(), denial.requested), ("secrets.open", "", false));
    }
    assert!(!path.exists(), "nothing is performed");

    // Requested and not granted: the line that would allow it.
    let attempt = bench.attempt(with(&powers, open_db()));
    let denial = denial(&attempt.call::<files::Write>(vec![order]).await.unwrap()[0]);
    assert_eq!((denial.grant, denial.requested), (open_db().to_string(), true));
    let unknown = attempt.call::<exec::Run>(vec![shell("cat", carrying("db"))]).await.unwrap();
    assert_eq!(unknown[0].as_ref().unwrap_err().kind, FailureKind::Invalid, "no handle at all");
    assert!(!bench.gate.platform.secrets.is_any_fetched());
}

#[test]
fn every_item_tells_the_handles_that_it_carries() {
    let fields = || vec![kubernetes::SecretField { pointer: "/data/x".to_owned(), secret: HANDLE.to_owned() }];
    let (cluster, key, body) = ("main".to_owned(), String::new(), "{}".to_owned());
    let create = kubernetes::CreateOrder { cluster: cluster.clone(), key, body: body.clone(), secrets: fields() };
    assert_eq!(kubernetes::Create::handles(&create), [HANDLE]);
    let (force, take_over, precondition) = (false, Vec::new(), None);
    let apply = kubernetes::ApplyOrder { cluster, body, secrets: fields(), force, take_over, precondition };
    assert_eq!(kubernetes::Apply::handles(&apply), [HANDLE]);
    let send = submission(request(vec![header("secret:a")]), carrying("secret:b"));
    assert_eq!(http::Send::handles(&send), ["secret:a", "secret:b"]);
}

#[tokio::test]
async fn a_handle_is_of_the_attempt_that_opened_it() {
    let folder = tempfile::tempdir().unwrap();
    let lines = with(&powers(&folder.path().display().to_string()), open_db());
    let bench = Bench::here(lines.clone());
    let attempt = bench.attempt(lines.clone());
    open(&attempt).await;
    let path = folder.path().join("x");
    let order = || written_to(path.display().to_string(), carrying(HANDLE));
    assert!(attempt.call::<files::Write>(vec![order()]).await.unwrap()[0].is_ok());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("a={SECRET}"));

    let another = bench.attempt(lines);
    let answers = another.call::<files::Write>(vec![order()]).await.unwrap();
    assert!(denial(&answers[0]).requested);
    assert!(answers[0].as_ref().unwrap_err().message.contains("this attempt has not opened"), "{answers:?}");
}

#[tokio::test]
async fn a_value_that_comes_back_is_in_no_answer_and_not_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let lines = with(&powers(&folder.path().display().to_string()), open_db());
    let bench = Bench::here(lines.clone());
    let attempt = bench.attempt(lines);
    open(&attempt).await;
    let value = || vec![Part::Secret(HANDLE.to_owned())];
    let asked = vec![
        shell("cat; echo to stderr >&2", value()),
        shell("echo said; cat >&2", value()),
        shell("printf '\\377'; cat", value()),
        shell("cat | base64", value()),
        shell("(printf user:; cat) | base64", value()),
        shell("cat >&2; exit 3", value()),
    ];
    let answers = attempt.call::<exec::Run>(asked).await.unwrap();
    let output = |index: usize| answers[index].as_ref().unwrap();
    assert_eq!(output(0).stdout.data, b"[secret db]");
    assert_eq!(output(0).stderr.data, b"to stderr\n");
    assert_eq!(output(1).stderr.data, b"[secret db]");
    assert_eq!(output(2).stdout.data, b"\xff[secret db]");
    assert_eq!(output(3).stdout.data, b"[secret db]\n");
    let amid = String::from_utf8_lossy(&output(4).stdout.data).into_owned();
    assert!(amid.starts_with("dXNlcj") && amid.contains("[secret db]"), "{amid}");
    let FailureKind::Failed(exit) = &answers[5].as_ref().unwrap_err().kind else { panic!("{answers:?}") };
    assert_eq!(exit.tail, "[secret db]");

    let path = folder.path().join("x").display().to_string();
    attempt.call::<files::Write>(vec![written_to(path.clone(), value())]).await.unwrap().remove(0).unwrap();
    let back = attempt.call::<files::Read>(vec![reading(&path)]).await.unwrap().remove(0).unwrap();
    assert_eq!(back.data, b"[secret db]");

    let said = format!("{:?}", bench.events.0.lock().unwrap());
    let all = said + &journal(&bench).await;
    assert!(all.matches("[secret db]").count() >= 6, "{all}");
    for form in [SECRET, &SECRET.replace('"', "\\\""), "czNjInJldC"] {
        assert!(!all.contains(form), "{form} in {all}");
    }
}

#[tokio::test]
async fn what_stands_for_a_value_is_not_written_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let lines = Value::from(powers(&folder.path().display().to_string()));
    let bench = Bench::here(lines.clone());
    let attempt = bench.attempt(lines);
    let path = folder.path().join("x");
    let contents =
        [vec![Part::Text("password = [secret db]".to_owned())], vec![Part::Bytes(b"\xff[secret db]".to_vec())]];
    for content in contents {
        let order = written_to(path.display().to_string(), content);
        let answers = attempt.call::<files::Write>(vec![order]).await.unwrap();
        assert_eq!(answers[0].as_ref().unwrap_err().kind, FailureKind::Invalid);
    }
    let order = written_to(path.display().to_string(), vec![Part::Text("[secret other]".to_owned())]);
    assert!(attempt.call::<files::Write>(vec![order]).await.unwrap()[0].is_ok());
}

/// Whether a guess is a value can be told from no answer that costs no grant.
#[tokio::test]
async fn a_refusal_repeats_the_plugins_own_words() {
    let bench = Bench::here(json!([]));
    bench.gate.platform.secrets.value("db").await.unwrap();
    let attempt = bench.attempt(json!([]));
    let answers = attempt.call::<files::Read>(vec![reading(&format!("/{SECRET}"))]).await.unwrap();
    let message = &answers[0].as_ref().unwrap_err().message;
    assert!(message.contains(SECRET) && !message.contains("[secret"), "{message}");
}
