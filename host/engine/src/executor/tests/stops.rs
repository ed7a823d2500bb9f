//! Stops and doubts: what is heard of them, and what does not follow them. Changes that must not be forgotten.

use super::*;

fn updates(extra: Value, last: Value) -> Value {
    let mut update = json!({"name": "one", "component": "p", "operation": "update", "targets": "ab"});
    update.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
    let mut steps = vec![json!({"name": "backup", "component": "p", "operation": "backup"}), update];
    steps.extend(last.as_array().cloned().unwrap());
    workflow(json!(steps))
}

fn in_doubt(done: &Outcome) {
    assert_eq!(done.summary.outcome, RunOutcome::InDoubt, "{:?}", done.summary);
    let message = done.summary.message.as_deref().unwrap();
    assert!(message.starts_with("outcome not known: systemd.start lost.service on "), "{message}");
    assert!(!done.calls.iter().any(|call| call.contains("backout")), "{:?}", done.calls);
}

#[tokio::test]
async fn a_doubt_is_told_though_the_run_was_cancelled_at_the_same_time() {
    let [cancel, lose] = [("p update a", Act::Cancel), ("p update b", Act::Lose)];
    in_doubt(&run(updates(json!({}), json!([])), &[cancel, lose]).await);
    // In a rolling block.
    let step = json!({"name": "one", "component": "p", "operation": "update"});
    let steps = json!([
        {"name": "backup", "component": "p", "operation": "backup"},
        {"name": "nodes", "rolling": {"over": "ab", "batch": 2, "max-failures": 2, "steps": [step]}},
    ]);
    in_doubt(&run(workflow(steps), &[cancel, lose]).await);
    // In steps beside each other, the second of which backs up.
    let steps = json!([
        {"name": "one", "component": "q", "operation": "backup", "needs": []},
        {"name": "two", "component": "h", "operation": "backup", "needs": []},
    ]);
    let acts = [("q backup a,b,c", Act::Cancel), ("h backup b", Act::Lose), ("h backup c", Act::Cancel)];
    let mut done = run(workflow(steps), &acts).await;
    in_doubt(&done);
    done.summary.failures.retain(|failure| failure.outcome != StepOutcome::Cancelled);
    assert_eq!(done.summary.failures.len(), 1, "{:?}", done.summary.failures);
}

#[tokio::test]
async fn a_write_that_a_time_out_left_running_is_waited_for() {
    let last = json!([{"name": "after", "component": "q", "operation": "verify", "needs": []}]);
    for (on_failure, outcome) in [("back-out", RunOutcome::BackedOut), ("stop", RunOutcome::Failed)] {
        let step = json!({"timeout": "40ms", "on-failure": on_failure, "targets": "a"});
        let done = run(updates(step.clone(), last.clone()), &[("p update a", Act::Start)]).await;
        assert_eq!(done.summary.outcome, outcome, "{:?}", done.summary);
        assert_eq!(done.summary.failures[0].outcome, StepOutcome::TimedOut);
        let ended = |step: &str| {
            done.bench.lines().iter().position(|line| match &line.entry {
                Entry::StepEnded(ended) => ended.attempt.step == step,
                Entry::End(end) => step.is_empty() && end.call.step == "one",
                _ => false,
            })
        };
        assert!(ended("").unwrap() < ended("one").unwrap(), "nothing follows before its end");
        // A backout of it is counted, too.
        let changes = if outcome == RunOutcome::BackedOut { 3 } else { 2 };
        assert_eq!(
            done.summary.recap.0["a"].changed, changes,
            "backup and what the write did: {:?}",
            done.summary.recap
        );
    }
}

#[tokio::test]
async fn a_doubt_behind_a_time_out_leaves_the_run_in_doubt_and_nothing_is_done_over_it() {
    for on_failure in ["back-out", "continue", "stop"] {
        let retry = json!({"attempts": 3, "delay": "1ms"});
        let step = json!({"timeout": "40ms", "on-failure": on_failure, "retry": retry, "targets": "a"});
        let last = json!([{"name": "after", "component": "q", "operation": "verify"}]);
        let done = run(updates(step, last), &[("p update a", Act::Lose)]).await;
        in_doubt(&done);
        assert_eq!(done.calls, ["p backup a,b,c", "p update a"], "{on_failure}");
        assert!(done.decisions().iter().any(|what| matches!(what, Decision::TimedOut { .. })));
        let closed = done.bench.lines().into_iter().any(|line| match line.entry {
            Entry::StepEnded(ended) => ended.attempt.step == "one",
            _ => false,
        });
        assert!(!closed, "a resume goes on inside it");
        assert_eq!(done.summary.recap.0["a"].changed, 2, "the backup and the write before: {:?}", done.summary.recap);
    }
}

#[tokio::test]
async fn a_backout_that_ends_in_doubt_is_stuck_and_says_so() {
    let last = json!([{"name": "look", "component": "q", "operation": "verify", "on-failure": "back-out"}]);
    let acts = [("q verify-health a,b,c", Act::Unhealthy), ("p backout b", Act::Lose)];
    let done = run(updates(json!({}), last), &acts).await;
    assert_eq!(done.summary.outcome, RunOutcome::Stuck);
    assert!(done.summary.message.unwrap().contains("systemd.start lost.service on b"));
}

#[tokio::test]
async fn what_an_attempt_changed_that_failed_is_changed_when_the_next_finds_nothing_to_do() {
    let retry = json!({"retry": {"attempts": 2, "delay": "1ms"}, "forks": 1});
    let last = json!([{"name": "look", "component": "q", "operation": "verify", "on-failure": "back-out",
                       "when": "steps.one.changed"}]);
    let acts = |a, b| [("p update a", a), ("p update b", b), ("q verify-health a,b,c", Act::Unhealthy)];
    let done = run(updates(retry, last), &acts(Act::StartThenFail, Act::Nothing)).await;
    assert_eq!(done.summary.outcome, RunOutcome::BackedOut, "{:?}", done.summary);
    assert_eq!(done.calls.last().unwrap(), "p backout a", "b was not changed");
    let ended: Vec<_> = done
        .summary
        .reports
        .iter()
        .filter(|report| report.step == "one")
        .map(|report| (report.target.to_string(), report.report.changed))
        .collect();
    assert_eq!(ended, [("a".to_owned(), true), ("b".to_owned(), false)]);
}

#[tokio::test]
async fn what_was_changed_by_a_step_that_failed_is_counted() {
    let failed = run(updates(json!({"targets": "a"}), json!([])), &[("p update a", Act::StartThenFail)]).await;
    assert_eq!(failed.summary.outcome, RunOutcome::Failed);
    let recap = failed.summary.recap.0["a"];
    assert_eq!((recap.changed, recap.failed), (2, 1), "the backup and what the write did: {recap:?}");
}
