//! The gate without wasm: calls of a scripted platform.

mod grants;

use std::time::Duration;

use runner_types::{Entry, ItemOutcome, Operation};
use serde_json::{Value, json};

use super::*;
use crate::contract::{FailureKind, clock, log, operator, systemd};
use crate::testing::{Bench, Console};

mod bounds;
mod secrets;

const PRESENT: Console = Console { present: true, yes: true };

fn order(host: &str, unit: &str) -> systemd::UnitOrder {
    systemd::UnitOrder { host: host.to_owned(), unit: unit.to_owned(), time_out: 1_000 }
}

fn grants() -> Value {
    json!([
        {"plugin": "p", "allow": "systemd.start", "units": ["x.service", "y.service", "z.service"]},
        {"plugin": "p", "allow": "systemd.status", "units": ["*"]}
    ])
}

fn bench() -> Bench {
    Bench::new(grants(), PRESENT)
}

/// Waits until everything is in the file.
async fn written(bench: &Bench) -> Vec<runner_types::Line> {
    tokio::time::sleep(Duration::from_millis(60)).await;
    bench.lines()
}

#[tokio::test]
async fn a_write_is_started_on_disk_performed_and_ended() {
    let bench = bench();
    let attempt = bench.attempt(grants());
    let answers = attempt.call::<systemd::Start>(vec![order("a", "x.service")]).await.unwrap();
    assert!(answers[0].as_ref().unwrap().changed);
    assert!(attempt.has_changed());
    assert_eq!(bench.script.performed(), ["start a/x.service"]);
    assert_eq!(bench.events.0.lock().unwrap().len(), 2, "it is shown when it begins and when it ends");
    let lines = written(&bench).await;
    let [start, end] = lines.as_slice() else { panic!("{lines:?}") };
    let Entry::Start(start) = &start.entry else { panic!("{start:?}") };
    assert_eq!((start.function.as_str(), start.call.index), ("systemd.start", 0));
    assert_eq!(start.before[0]["active-state"], "inactive", "the state before is kept");
    let Entry::End(end) = &end.entry else { panic!("{end:?}") };
    assert!(end.items[0].changed && end.items[0].outcome.is_ok());
}

#[tokio::test]
async fn the_start_of_a_write_is_in_the_file_before_it_is_performed() {
    let bench = bench();
    *bench.script.takes.lock().unwrap() = Duration::from_secs(30);
    let attempt = bench.attempt(grants());
    let call = tokio::spawn(async move { attempt.call::<systemd::Start>(vec![order("a", "x.service")]).await });
    tokio::time::timeout(Duration::from_secs(5), async {
        while bench.lines().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    assert!(bench.script.performed().is_empty());
    call.abort();
}

#[tokio::test]
async fn dropping_the_instance_does_not_cut_a_write() {
    let bench = bench();
    *bench.script.takes.lock().unwrap() = Duration::from_millis(100);
    let attempt = bench.attempt(grants());
    let call = attempt.call::<systemd::Start>(vec![order("a", "x.service")]);
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    bench.gate.settled().await;
    assert_eq!(bench.script.performed(), ["start a/x.service"]);
    assert!(written(&bench).await.iter().any(|line| matches!(line.entry, Entry::End(_))), "its end is journalled");
}

#[tokio::test]
async fn a_denied_item_keeps_back_the_whole_write() {
    let bench = bench();
    let attempt = bench.attempt(json!([{"plugin": "p", "allow": "systemd.start", "units": ["*.service"]}]));
    let orders = vec![order("a", "x.service"), order("a", "other.service")];
    let answers = attempt.call::<systemd::Start>(orders).await.unwrap();
    assert_eq!(answers[0].as_ref().unwrap_err().kind, FailureKind::NotAttempted);
    let FailureKind::Denied(denial) = &answers[1].as_ref().unwrap_err().kind else { panic!("{answers:?}") };
    assert_eq!(denial.grant, r#"{"plugin":"p","allow":"systemd.start","units":["*.service"]}"#);
    assert!(denial.requested);
    assert!(bench.script.performed().is_empty());
    let lines = written(&bench).await;
    let Entry::End(end) = &lines[1].entry else { panic!("{lines:?}") };
    assert!(end.items.iter().all(|item| matches!(item.outcome, ItemOutcome::Failed(_))), "a denial is journalled");
}

#[tokio::test]
async fn what_the_manifest_does_not_request_no_grant_allows() {
    let bench = bench();
    let attempt = bench.attempt(json!([]));
    let answers = attempt.call::<systemd::Start>(vec![order("a", "x.service")]).await.unwrap();
    let failure = answers[0].as_ref().unwrap_err();
    let FailureKind::Denied(denial) = &failure.kind else { panic!("{failure:?}") };
    assert!(!denial.requested && denial.grant.is_empty());
    assert!(failure.message.contains("a grant alone would not help"), "{}", failure.message);
}

#[tokio::test]
async fn another_host_is_beyond_the_target() {
    let bench = bench();
    let attempt = bench.attempt(grants());
    let answers = attempt.call::<systemd::Start>(vec![order("b", "x.service")]).await.unwrap();
    assert!(matches!(answers[0].as_ref().unwrap_err().kind, FailureKind::Denied(_)));
    let unknown = attempt.call::<systemd::Start>(vec![order("nowhere", "x.service")]).await.unwrap();
    assert_eq!(unknown[0].as_ref().unwrap_err().kind, FailureKind::Invalid);
    assert!(bench.script.performed().is_empty());
}

#[tokio::test]
async fn reads_stand_alone() {
    let bench = bench();
    let attempt = bench.attempt(grants());
    let unit = |host: &str| systemd::UnitRef { host: host.to_owned(), unit: "x.service".to_owned() };
    let answers = attempt.call::<systemd::Status>(vec![unit("a"), unit("b")]).await.unwrap();
    assert!(answers[0].is_ok());
    assert!(matches!(answers[1].as_ref().unwrap_err().kind, FailureKind::Denied(_)));
}

#[tokio::test]
async fn verify_may_only_look() {
    let bench = bench();
    let attempt = bench.attempt_as(grants(), Operation::Verify, Vec::new());
    let answers = attempt.call::<systemd::Start>(vec![order("a", "x.service")]).await.unwrap();
    assert!(matches!(answers[0].as_ref().unwrap_err().kind, FailureKind::Denied(_)));
    assert!(bench.script.performed().is_empty());
}

#[tokio::test]
async fn writes_to_one_host_stop_at_the_first_failure_and_other_hosts_go_on() {
    let wide = json!([{"plugin": "p", "allow": "systemd.start", "units": ["*"], "hosts": ["ab"]}]);
    let bench = Bench::new(wide.clone(), PRESENT);
    bench.script.failing.lock().unwrap().push("bad.service".to_owned());
    let attempt = bench.attempt(wide);
    let orders = vec![order("a", "bad.service"), order("a", "later.service"), order("b", "fine.service")];
    let answers = attempt.call::<systemd::Start>(orders).await.unwrap();
    assert!(matches!(answers[0].as_ref().unwrap_err().kind, FailureKind::Failed(_)));
    assert_eq!(answers[1].as_ref().unwrap_err().kind, FailureKind::NotAttempted);
    assert!(answers[2].is_ok());
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_a_stop_without_an_answer() {
    let bench = bench();
    bench.script.doubtful.lock().unwrap().push("x.service".to_owned());
    let attempt = bench.attempt(grants());
    let stop = attempt.call::<systemd::Start>(vec![order("a", "x.service")]).await.unwrap_err();
    assert!(matches!(stop, Stop::InDoubt(_)), "{stop:?}");
    assert!(stop.to_string().starts_with("outcome not known: systemd.start x.service on a: "), "{stop}");
    let lines = written(&bench).await;
    assert!(matches!(lines.as_slice(), [start] if matches!(start.entry, Entry::Start(_))), "{lines:?}");
}

#[tokio::test]
async fn what_ended_before_a_doubt_has_its_end() {
    let wide = json!([{"plugin": "p", "allow": "systemd.start", "units": ["*"], "hosts": ["ab"]}]);
    let bench = Bench::new(wide.clone(), PRESENT);
    bench.script.doubtful.lock().unwrap().push("lost.service".to_owned());
    let attempt = bench.attempt(wide);
    let orders = ["x.service", "lost.service", "y.service"].map(|unit| order("a", unit));
    let stop = attempt.call::<systemd::Start>([order("b", "z.service")].into_iter().chain(orders).collect()).await;
    let stop = stop.unwrap_err();
    assert!(stop.to_string().starts_with("outcome not known: systemd.start lost.service on a: "), "{stop}");
    assert!(attempt.has_changed());
    let mut ended = Vec::new();
    for line in written(&bench).await {
        if let Entry::End(end) = line.entry {
            assert!(end.items.iter().all(|item| item.changed && item.outcome.is_ok()), "{end:?}");
            ended.extend(end.items.into_iter().map(|item| item.item));
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, [0, 1], "only what is in doubt, and what was not reached, has none");
}

#[tokio::test]
async fn a_doubt_is_left_when_nobody_waits_for_the_write_any_more() {
    let bench = bench();
    *bench.script.takes.lock().unwrap() = Duration::from_millis(100);
    bench.script.doubtful.lock().unwrap().push("x.service".to_owned());
    let attempt = bench.attempt(grants());
    let call = attempt.call::<systemd::Start>(vec![order("a", "x.service")]);
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    assert_eq!(bench.gate.doubt(None), None);
    attempt.settled().await;
    let doubt = bench.gate.doubt(None).unwrap();
    assert!(doubt.message.starts_with("systemd.start x.service on a: "), "{doubt}");
    let id = attempt.spec().id.clone();
    assert_eq!(bench.gate.doubt(Some(&id)), Some(doubt));
    assert_eq!(bench.gate.doubt(Some(&runner_types::Attempt { attempt: 2, ..id })), None);
}

#[tokio::test]
async fn a_cancelled_run_begins_no_further_call() {
    let bench = bench();
    let attempt = bench.attempt(grants());
    bench.gate.cancel();
    let stop = attempt.call::<systemd::Start>(vec![order("a", "x.service")]).await.unwrap_err();
    assert!(matches!(stop, Stop::Cancelled));
    assert!(written(&bench).await.is_empty());
}

#[tokio::test]
async fn a_read_under_way_ends_when_the_run_is_cancelled() {
    let bench = bench();
    *bench.script.reads_take.lock().unwrap() = Duration::from_secs(600);
    let attempt = bench.attempt(grants());
    let asked = systemd::UnitRef { host: "a".to_owned(), unit: "x.service".to_owned() };
    let call = tokio::spawn(async move { attempt.call::<systemd::Status>(vec![asked]).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.gate.cancel();
    let stop = tokio::time::timeout(Duration::from_secs(5), call).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(stop, Stop::Cancelled));
    assert!(!written(&bench).await.iter().any(|line| matches!(line.entry, Entry::End(_))), "it has no answer");
}

#[tokio::test]
async fn a_sleep_ends_when_the_run_is_cancelled() {
    let bench = bench();
    let attempt = bench.attempt(grants());
    let sleeping = attempt.call::<clock::Sleep>(vec![clock::SleepQuestion { duration: 60_000 }]);
    let gate = Arc::clone(&bench.gate);
    let (stop, ()) = tokio::join!(sleeping, async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        gate.cancel();
    });
    assert!(matches!(stop.unwrap_err(), Stop::Cancelled));
}

fn question(key: &str) -> operator::Question {
    operator::Question { key: key.to_owned(), message: "Stop?".to_owned(), why: String::new(), fact: false }
}

fn prompts() -> Vec<runner_types::PromptSpec> {
    let prompt = |key: &str, kind: &str| json!({"key": key, "operations": ["update"], "kind": kind, "message": "m"});
    let mut choice = prompt("which", "choose");
    choice["options"] = json!(["one", "two"]);
    serde_json::from_value(json!([prompt("stop", "pause"), prompt("go", "confirm"), choice])).unwrap()
}

#[tokio::test]
async fn a_prompt_must_stand_in_the_manifest() {
    let bench = bench();
    let attempt = bench.attempt_as(json!([]), Operation::Update, prompts());
    let listed = attempt.call::<operator::Pause>(vec![question("stop")]).await.unwrap();
    assert_eq!(listed[0], Ok(()));
    let other = attempt.call::<operator::Pause>(vec![question("other")]).await.unwrap();
    assert_eq!(other[0].as_ref().unwrap_err().kind, FailureKind::Invalid);
    let answered = written(&bench).await.into_iter().any(|line| {
        matches!(line.entry, Entry::Decision(decision) if matches!(decision.what, runner_types::Decision::Answered { .. }))
    });
    assert!(answered, "who answered is journalled");
}

#[tokio::test]
async fn a_prompt_is_asked_as_the_manifest_lists_it() {
    let bench = bench();
    let attempt = bench.attempt_as(json!([]), Operation::Update, prompts());
    let paused = attempt.call::<operator::Pause>(vec![question("go")]).await.unwrap();
    let failure = paused[0].as_ref().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert_eq!(failure.message, "the manifest of p lists \"go\" as `confirm`, and it is `pause`");
    let chosen = |options: &[&str]| {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        attempt.call::<operator::Choose>(vec![operator::Choice {
            question: question("which"),
            options,
            default: None,
            planned: 0,
        }])
    };
    assert_eq!(chosen(&["two", "three", "one"]).await.unwrap()[0], Ok(0));
    let failure = chosen(&["two", "three"]).await.unwrap()[0].clone().unwrap_err();
    assert!(failure.message.contains("lists the option \"one\" of \"which\", which it lacks"), "{}", failure.message);
}

#[tokio::test]
async fn a_prompt_that_nobody_can_answer_stops_the_run() {
    let bench = Bench::new(grants(), Console { present: false, yes: false });
    let attempt = bench.attempt_as(json!([]), Operation::Update, prompts());
    let stop = attempt.call::<operator::Pause>(vec![question("stop")]).await.unwrap_err();
    assert!(matches!(stop, Stop::Unanswerable { .. }));
}

#[tokio::test]
async fn too_many_items_and_too_large_calls_are_refused_unperformed() {
    let bench = bench();
    let attempt = bench.attempt(grants());
    let many = vec![order("a", "x.service"); 10_001];
    let answers = attempt.call::<systemd::Start>(many).await.unwrap();
    assert_eq!(answers.len(), 10_001);
    assert_eq!(answers[0].as_ref().unwrap_err().kind, FailureKind::TooLarge);
    let large = vec![order("a", &format!("{}.service", "x".repeat(9 << 20)))];
    let answers = attempt.call::<systemd::Start>(large).await.unwrap();
    assert!(answers[0].is_err());
    assert!(bench.script.performed().is_empty());
}

#[tokio::test]
async fn log_lines_are_bounded_and_cannot_move_the_cursor() {
    let bench = bench();
    let attempt = bench.attempt(json!([]));
    attempt.log(log::Level::Info, "one\u{1b}[2J\ntwo", &[]);
    for _ in 0..20_000 {
        attempt.log(log::Level::Info, "flood", &[]);
    }
    let lines = written(&bench).await;
    assert_eq!(lines.len(), 10_001);
    let Entry::Log(first) = &lines[0].entry else { panic!("{:?}", lines[0]) };
    assert_eq!(first.message, "one\\u{1b}[2J\\ntwo");
    let Entry::Log(last) = &lines[10_000].entry else { panic!("{:?}", lines[10_000]) };
    assert!(last.message.contains("dropped"), "{}", last.message);
}

fn reading(path: &str) -> crate::contract::files::ReadOrder {
    crate::contract::files::ReadOrder {
        host: "a".to_owned(),
        path: path.to_owned(),
        offset: 0,
        limit: 10,
        sensitive: false,
    }
}

#[tokio::test]
async fn a_link_is_judged_by_where_it_leads() {
    use crate::contract::files;
    let policy = json!([{"plugin": "p", "allow": "files.read", "paths": ["/etc/app/**"]}]);
    let bench = Bench::new(policy.clone(), PRESENT);
    bench.script.links.lock().unwrap().insert("/etc/app/link".to_owned(), "/etc/shadow".to_owned());
    let attempt = bench.attempt(policy);
    let paths = ["/etc/app/link", "/etc/shadow", "/etc/app/../shadow"];
    let answers = attempt.call::<files::Read>(paths.into_iter().map(reading).collect()).await.unwrap();
    assert!(matches!(answers[0].as_ref().unwrap_err().kind, FailureKind::Denied(_)), "{:?}", answers[0]);
    assert!(matches!(answers[1].as_ref().unwrap_err().kind, FailureKind::Denied(_)), "{:?}", answers[1]);
    assert_eq!(answers[2].as_ref().unwrap_err().kind, FailureKind::Invalid);
}

#[tokio::test]
async fn a_path_that_cannot_be_followed_is_not_judged_and_nothing_is_performed() {
    use crate::contract::files;
    let policy = json!([
        {"plugin": "p", "allow": "files.read", "paths": ["/etc/app/**"]},
        {"plugin": "p", "allow": "files.make-directory", "paths": ["/etc/app/**"]}
    ]);
    let bench = Bench::new(policy.clone(), PRESENT);
    bench.script.links.lock().unwrap().insert("/etc/app/untold".to_owned(), String::new());
    let attempt = bench.attempt(policy);
    let answers = attempt.call::<files::Read>(vec![reading("/etc/app/untold")]).await.unwrap();
    assert_eq!(answers[0].as_ref().unwrap_err().kind, FailureKind::Unreachable);
    let make = |path: &str| files::DirectoryOrder { host: "a".to_owned(), path: path.to_owned(), attributes: None };
    let orders = ["/etc/app/new", "/etc/app/untold"].map(make).to_vec();
    let answers = attempt.call::<files::MakeDirectory>(orders).await.unwrap();
    assert!(answers[0].is_err(), "kept back with the other: {:?}", answers[0]);
    assert_eq!(answers[1].as_ref().unwrap_err().kind, FailureKind::Unreachable);
    assert!(bench.script.performed().is_empty());
}

#[tokio::test]
async fn randomness_is_the_attempts_own_and_repeats() {
    let bench = bench();
    let one = bench.attempt(json!([])).random(32);
    assert_eq!(one, bench.attempt(json!([])).random(32));
    assert_ne!(one, vec![0; 32]);
}
