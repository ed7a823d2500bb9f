//! Unwinding: what is backed out, in which order, and what is asked on the way.

use super::*;

fn with_backup(on_failure: &str) -> Value {
    workflow(json!([
        {"name": "backup", "component": "p", "operation": "backup"},
        {"name": "one", "component": "p", "operation": "update", "targets": "ab", "forks": 1},
        {"name": "two", "component": "q", "operation": "verify", "on-failure": on_failure},
    ]))
}

#[tokio::test]
async fn what_a_failed_run_changed_is_backed_out_last_first() {
    let acts = [("q verify-health a,b,c", Act::Unhealthy)];
    let done = run(with_backup("back-out"), &acts).await;
    assert_eq!(done.summary.outcome, RunOutcome::BackedOut, "{:?}", done.summary.failures);
    assert_eq!(done.calls[done.calls.len() - 2..], ["p backout b", "p backout a"]);
}

#[tokio::test]
async fn a_backout_that_fails_makes_the_run_stuck() {
    let acts = [("q verify-health a,b,c", Act::Unhealthy), ("p backout b", Act::Fail)];
    let done = run(with_backup("back-out"), &acts).await;
    assert_eq!(done.summary.outcome, RunOutcome::Stuck);
    assert_eq!(done.calls.last().unwrap(), "p backout b", "nothing is touched after that");
}

#[tokio::test]
async fn a_host_of_a_rolling_block_is_backed_out_with_its_pauses_and_maintenance() {
    let prompt = |text: &str| json!({"message": text, "skip-when": {"input": "quiet", "equals": true}});
    let workflow = |quiet: bool| {
        json!({
            "name": "w",
            "inputs": {"quiet": {"type": "boolean", "default": quiet}},
            "steps": [
                {"name": "backup", "component": "p", "operation": "backup"},
                {"name": "backup-q", "component": "q", "operation": "backup"},
                {"name": "nodes", "rolling": {
                    "over": "ab",
                    "maintenance": [{"component": "h", "with": {"seconds": "${inputs.quiet ? 1 : 2}"}}],
                    "pause": {"before": prompt("stop ${host.name}"), "after": prompt("resume ${host.name}")},
                    "steps": [
                        {"name": "one", "component": "p", "operation": "update"},
                        {"name": "two", "component": "q", "operation": "update"},
                    ],
                }},
                {"name": "look", "component": "q", "operation": "verify", "on-failure": "back-out"},
            ],
        })
    };
    for quiet in [false, true] {
        let done = run(workflow(quiet), &[("q verify-health a,b,c", Act::Unhealthy)]).await;
        assert_eq!(done.summary.outcome, RunOutcome::BackedOut, "{:?}", done.summary.failures);
        let of = |host: &str| {
            let calls = ["h maintenance-enter", "q backout", "p backout", "h maintenance-leave"];
            calls.map(|call| format!("{call} {host}"))
        };
        assert_eq!(done.calls[done.calls.len() - 8..], [of("b"), of("a")].concat());
        let mut asked = Vec::new();
        for line in done.bench.lines() {
            match line.entry {
                Entry::Decision(decision) => {
                    if let Decision::Answered { message, by, .. } = decision.what {
                        assert_eq!(matches!(by, runner_types::AnsweredBy::Input { .. }), quiet);
                        asked.push(message);
                    }
                }
                Entry::StepBegun(begun) if begun.component == "h" => {
                    assert_eq!(begun.parameters["seconds"], if quiet { 1 } else { 2 });
                }
                _ => {}
            }
        }
        let update = ["stop a", "resume a", "stop b", "resume b"];
        assert_eq!(asked, [update, ["stop b", "resume b", "stop a", "resume a"]].concat());
    }
}
