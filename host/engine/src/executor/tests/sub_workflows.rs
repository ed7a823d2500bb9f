//! Workflows as steps of others: they ask no less there than alone.

use super::*;

/// Runs a workflow that looks at `p` and then does `part.json`, which looks at `h`, asks, and verifies `q`.
async fn run_part(step: Value, part: Value, acts: &[(&str, Act)], console: Console) -> Outcome {
    let mut inner = json!({"name": "inner", "workflow": "part.json", "needs": []});
    inner.as_object_mut().unwrap().extend(step.as_object().cloned().unwrap());
    let whole = json!({
        "name": "w",
        "lock": false,
        "preconditions": [{"name": "seen", "component": "p", "check": "true", "message": "never"}],
        "steps": [inner],
    });
    let mut file = json!({
        "name": "part",
        "lock": false,
        "preconditions": [{"name": "healthy", "component": "h", "message": "h is ill"}],
        "confirm": {"message": "Go?"},
        "steps": [{"name": "one", "component": "q", "operation": "verify"}],
    });
    file.as_object_mut().unwrap().extend(part.as_object().cloned().unwrap());
    run_over(inventory().resolve(), &[("w.json", whole), ("part.json", file)], acts, console, false).await
}

const YES: Console = Console { present: true, yes: true };
const NO: Console = Console { present: true, yes: false };

#[tokio::test]
async fn its_preconditions_come_before_its_steps() {
    let done = run_part(json!({}), json!({}), &[], NO).await;
    assert_eq!(done.summary.outcome, RunOutcome::Succeeded, "{:?}", done.summary);
    let looks = ["p verify-health a,b,c", "h verify-health a", "h verify-health b", "h verify-health c"];
    assert_eq!(done.calls, [&looks[..], &["q verify-health a,b,c"]].concat());

    let done = run_part(json!({}), json!({}), &[("h verify-health b", Act::Unhealthy)], YES).await;
    assert_eq!(done.summary.outcome, RunOutcome::Refused);
    let last = done.summary.failures.last().unwrap();
    assert_eq!((&*last.step, &*last.findings[0].message), ("inner/preconditions/healthy", "h is ill"));
    assert_eq!(done.calls, looks, "its steps were not begun");
}

#[tokio::test]
async fn its_question_is_asked_where_the_step_wants_it() {
    let asked = json!({"confirm": true});
    let done = run_part(asked.clone(), json!({}), &[], YES).await;
    assert_eq!(done.summary.outcome, RunOutcome::Succeeded, "{:?}", done.summary);
    assert_eq!(done.calls.last().unwrap(), "q verify-health a,b,c");

    let done = run_part(asked.clone(), json!({}), &[], NO).await;
    assert_eq!(done.summary.outcome, RunOutcome::Declined);
    assert_eq!(done.summary.message.as_deref(), Some("the operator answered no; nothing of part was done"));
    assert!(!done.calls.contains(&"q verify-health a,b,c".to_owned()), "{:?}", done.calls);

    let done = run_part(asked, json!({}), &[], Console { present: false, yes: true }).await;
    assert_eq!(done.summary.outcome, RunOutcome::Unanswerable);
    assert!(!done.calls.contains(&"q verify-health a,b,c".to_owned()), "{:?}", done.calls);
}

#[tokio::test]
async fn it_knows_what_the_whole_found_and_what_it_found_itself() {
    let both = "components.p.versions == {} && components.h.versions == {}";
    let own = json!({"preconditions": [
        {"name": "look", "component": "h", "check": "true", "message": "never"},
        {"name": "both", "check": both, "message": "found ${components}"},
    ]});
    let done = run_part(json!({}), own, &[], YES).await;
    assert_eq!(done.summary.outcome, RunOutcome::Succeeded, "{:?}", done.summary);
    let none = json!({"preconditions": [], "steps": [
        {"name": "one", "component": "q", "operation": "verify", "when": "has(components.p) && !has(components.h)"},
    ]});
    let done = run_part(json!({}), none, &[], YES).await;
    assert_eq!(done.calls, ["p verify-health a,b,c", "q verify-health a,b,c"]);
}

#[tokio::test]
async fn the_whole_is_as_strict_as_its_parts() {
    let hour = json!({"backup": {"max-age": "1h"}});
    let done = run_part(json!({}), json!({"lock": true, "requires": hour}), &[], YES).await;
    assert!(done.plan.lock);
    assert_eq!(done.plan.requires.backup.max_age.to_string(), "1h");
    let done = run_part(json!({}), json!({"requires": {"backup": {"max-age": "30h"}}}), &[], YES).await;
    assert!(!done.plan.lock);
    assert_eq!(done.plan.requires.backup.max_age.to_string(), "1d", "the whole's own is stricter");
}
