use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Entries as they stand in a journal.
fn entries(lines: &[serde_json::Value]) -> Vec<Entry> {
    lines.iter().map(|line| serde_json::from_value(line.clone()).unwrap()).collect()
}

fn attempt(number: u32) -> serde_json::Value {
    json!({"step": "etcd", "target": {"cluster": "main"}, "attempt": number})
}

fn call(attempt: u32, index: u32) -> serde_json::Value {
    json!({"step": "etcd", "target": {"cluster": "main"}, "attempt": attempt, "index": index})
}

fn begun(number: u32) -> serde_json::Value {
    json!({"step-begun": {"attempt": attempt(number), "component": "etcd", "operation": "update",
        "plugin": "0".repeat(64), "parameters": {}, "hosts": ["a", "b"]}})
}

fn start(attempt: u32, index: u32, class: &str) -> serde_json::Value {
    json!({"start": {"call": call(attempt, index), "function": "systemd.stop", "class": class,
        "count": 2, "items": [1, 2]}})
}

fn end(attempt: u32, index: u32, items: &[u32]) -> serde_json::Value {
    let items: Vec<_> = items.iter().map(|i| json!({"item": i, "outcome": {"ok": null}, "changed": true})).collect();
    json!({"end": {"call": call(attempt, index), "items": items}})
}

fn ended(number: u32, outcome: &str) -> serde_json::Value {
    json!({"step-ended": {"attempt": attempt(number), "outcome": outcome}})
}

fn run_ended(outcome: &str) -> serde_json::Value {
    json!({"run-ended": {"outcome": outcome, "recap": {}}})
}

fn resumed() -> serde_json::Value {
    json!({"decision": {"what": {"resumed": {"by": {"user": "u", "host": "h"}, "runner": "0.1.0"}}}})
}

fn status(lines: &[serde_json::Value]) -> Result<RunStatus, (usize, String)> {
    RunStatus::of(&entries(lines)).map_err(|(index, error)| (index, error.to_string()))
}

#[test]
fn a_run_that_failed_and_was_resumed() {
    let status = status(&[
        begun(1),
        start(1, 0, "read"),
        end(1, 0, &[0, 1]),
        start(1, 3, "write-once"),
        end(1, 3, &[1]),
        end(1, 3, &[0]),
        ended(1, "failed"),
        run_ended("failed"),
        resumed(),
        begun(2),
        start(2, 0, "write-idempotent"),
        end(2, 0, &[0]),
    ])
    .unwrap();
    assert!(status.ended().is_none());
    assert_eq!(status.resumptions(), 1);
    let target = Target::Cluster("main".to_owned());
    assert_eq!(status.last_attempt("etcd", &target).and_then(AttemptStatus::outcome), None);
    assert!(status.steps().all(|(_, _, attempts)| attempts.len() == 2 && attempts[0].changed));
    let open = status.open_writes();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].call.to_string(), "etcd @ main #2.0");
    assert_eq!(open[0].items, [1]);
}

#[test]
fn calls_are_asked_again_after_a_stop_only() {
    let stopped = [begun(1), start(1, 0, "read"), end(1, 0, &[0, 1]), start(1, 1, "write-once")];
    let with = |more: &[serde_json::Value]| status(&[&stopped, more].concat());
    assert!(with(&[resumed(), start(1, 0, "read"), start(1, 1, "write-once")]).is_ok());
    let reason = |more: &[serde_json::Value]| with(more).unwrap_err().1;
    assert_eq!(reason(&[start(1, 0, "read")]), "call etcd @ main #1.0 begins, and it began before");
    assert!(reason(&[end(1, 1, &[0, 1]), resumed(), start(1, 1, "write-once")]).ends_with("it is over"));
}

#[test]
fn what_cannot_follow_is_damage() {
    let cases: [(&[serde_json::Value], usize, &str); 14] = [
        (&[start(1, 0, "read")], 0, "it never began"),
        (&[begun(2)], 0, "it is not the next one"),
        (&[begun(1), begun(2)], 1, "the one before it has not ended"),
        (&[begun(1), ended(1, "failed"), begun(3)], 2, "it is not the next one"),
        (&[begun(1), ended(1, "changed"), begun(2)], 2, "the one before it succeeded"),
        (&[begun(1), ended(1, "ok"), ended(1, "ok")], 2, "it ended before"),
        (&[begun(1), ended(1, "ok"), start(1, 0, "read")], 2, "it ended before"),
        (&[begun(1), start(1, 2, "read"), start(1, 1, "read")], 2, "a later one began before it"),
        (&[begun(1), end(1, 0, &[0])], 1, "it never began"),
        (&[begun(1), start(1, 0, "read"), end(1, 0, &[2])], 2, "it has no such item"),
        (&[begun(1), start(1, 0, "read"), end(1, 0, &[0, 0])], 2, "this item ended before"),
        (&[run_ended("failed"), begun(1)], 1, "nobody resumed the run"),
        (&[run_ended("succeeded"), resumed()], 1, "ended for good (succeeded)"),
        (&[run_ended("failed"), run_ended("failed")], 1, "nobody resumed the run"),
    ];
    for (lines, index, reason) in cases {
        let (at, error) = status(lines).unwrap_err();
        assert!(at == index && error.ends_with(reason), "{at} {error}; wanted {index} {reason}");
    }
}

#[test]
fn an_effect_may_end_after_its_attempt() {
    let lines = [begun(1), start(1, 0, "write-once"), ended(1, "timed-out"), end(1, 0, &[0, 1])];
    assert!(status(&lines[..3]).unwrap().open_writes().len() == 1);
    assert!(status(&lines).unwrap().open_writes().is_empty());
}

#[test]
fn lines_are_written_as_they_are_read() {
    let text = json!({"seq": 3, "time": "2026-11-21T07:51:46.123Z", "prev": "0".repeat(64),
        "entry": start(1, 0, "write-once"), "hash": "1".repeat(64)})
    .to_string();
    let line: crate::Line = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&line).unwrap(), text);
    let stored = json!({"$stored": "a".repeat(64), "size": 5});
    let payload: crate::Payload = serde_json::from_value(stored.clone()).unwrap();
    assert!(payload.inline().is_none());
    assert_eq!(serde_json::to_value(&payload).unwrap(), stored);
    assert!(serde_json::from_value::<crate::Payload>(json!({"$stored": "x", "size": 5})).is_err());
}

proptest! {
    #[test]
    fn a_refused_entry_changes_nothing(choices in prop::collection::vec(0usize..9, 0..40)) {
        let all = entries(&[begun(1), begun(2), start(1, 0, "read"), start(1, 1, "write-once"), end(1, 1, &[0]),
            end(1, 1, &[1]), ended(1, "failed"), run_ended("failed"), resumed()]);
        let mut status = RunStatus::default();
        for choice in choices {
            let before = format!("{status:?}");
            if status.apply(&all[choice]).is_err() {
                prop_assert_eq!(before, format!("{status:?}"), "{}", choice);
            }
        }
    }
}
