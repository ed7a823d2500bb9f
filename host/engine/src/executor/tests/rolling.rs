//! Rolling blocks: windows, batches, gates between them.

use super::*;

#[tokio::test]
async fn a_window_is_maintenance_steps_and_back_in_reverse() {
    let done = run(rolling(json!({"maintenance": ["p", "q"], "over": "a"})), &[]).await;
    let expected = [
        "p maintenance-enter a",
        "q maintenance-enter a",
        "h verify-health a",
        "q maintenance-leave a",
        "p maintenance-leave a",
    ];
    assert_eq!(done.summary.outcome, RunOutcome::Succeeded, "{:?}", done.summary);
    assert_eq!(done.calls, expected);
    assert!(!done.summary.hosts["a"].out_of_service);
}

#[tokio::test]
async fn a_host_that_was_refused_was_not_taken_out_of_service() {
    // Where another part of the maintenance had taken it out before, it stays out.
    for (act, out) in [("p maintenance-enter a", false), ("q maintenance-enter a", true)] {
        let maintenance = json!({"maintenance": ["p", "q"], "over": "a"});
        let done = run(rolling(maintenance), &[(act, Act::Refuse)]).await;
        assert_eq!(done.summary.outcome, RunOutcome::Refused);
        assert_eq!(done.summary.hosts["a"].out_of_service, out, "{act}");
    }
}

#[tokio::test]
async fn a_host_that_failed_stays_out_of_service_and_stops_the_block() {
    let block = json!({"maintenance": ["p"], "over": "all", "health": [{"component": "p"}]});
    let done = run(rolling(block), &[("h verify-health a", Act::Fail)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Failed);
    assert_eq!(done.calls, ["p verify-health a,b,c", "p maintenance-enter a", "h verify-health a"]);
    assert!(done.summary.hosts["a"].out_of_service);
    assert!(!done.summary.hosts["b"].out_of_service);
    assert!(done.decisions().contains(&Decision::Threshold { failures: 1, limit: 0 }));
}

#[tokio::test]
async fn tolerated_failures_do_not_stop_the_block_but_canaries_do() {
    let acts = [("h verify-health a", Act::Fail)];
    let done = run(rolling(json!({"max-failures": 1})), &acts).await;
    assert_eq!(done.summary.outcome, RunOutcome::Succeeded);
    assert_eq!(done.calls.len(), 3);
    let done = run(rolling(json!({"max-failures": 1, "canaries": 1, "batch": 2})), &acts).await;
    assert_eq!(done.summary.outcome, RunOutcome::Failed);
    assert_eq!(done.calls.len(), 1, "{:?}", done.calls);
}

#[tokio::test]
async fn an_unhealthy_gate_lets_no_host_begin() {
    let block = json!({"health": [{"component": "p"}]});
    let done = run(rolling(block), &[("p verify-health a,b,c", Act::Unhealthy)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Failed);
    assert_eq!(done.calls, ["p verify-health a,b,c"]);
}

#[tokio::test]
async fn gates_between_batches_ask_about_the_batch_and_the_first_and_last_about_all() {
    let block = json!({"health": [{"component": "p"}, {"component": "q"}]});
    let done = run(rolling(block), &[]).await;
    let all = ["p verify-health a,b,c", "q verify-health a,b,c"];
    let expected = [
        &all[..],
        &["h verify-health a", "p verify-health a", "q verify-health a,b,c"],
        &["h verify-health b", "p verify-health b", "q verify-health a,b,c"],
        &["h verify-health c"],
        &all,
    ];
    assert_eq!(done.calls, expected.concat());
    assert_eq!(done.summary.recap.0["a"].ok, 8, "{:?}", done.summary.recap);
}

#[tokio::test]
async fn a_gate_of_a_component_that_looks_at_one_host_looks_at_each() {
    let looks = |hosts: &[&str]| hosts.iter().map(|host| format!("h verify-health {host}")).collect::<Vec<_>>();
    let done = run(rolling(json!({"health": [{"component": "h"}]})), &[("h verify-health c", Act::Unhealthy)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Failed, "the last of the hosts is ill");
    assert_eq!(done.calls, looks(&["a", "b", "c"]));
    let done = run(rolling(json!({"health": [{"component": "h"}]})), &[]).await;
    let expected =
        [looks(&["a", "b", "c"]), looks(&["a", "a"]), looks(&["b", "b"]), looks(&["c"]), looks(&["a", "b", "c"])];
    assert_eq!(done.calls, expected.concat());
}

#[tokio::test]
async fn the_last_gate_is_the_one_after_the_last_batch_with_work() {
    let steps = json!([{"name": "check", "component": "h", "operation": "verify", "when": "host.name != 'c'"}]);
    let done = run(rolling(json!({"health": [{"component": "p"}], "steps": steps})), &[]).await;
    let all = "p verify-health a,b,c";
    assert_eq!(done.calls, [all, "h verify-health a", "p verify-health a", "h verify-health b", all]);
}

#[tokio::test]
async fn a_block_that_tolerates_failures_ends_with_a_gate_over_all() {
    let block = json!({"health": [{"component": "p"}], "batch": 1, "max-failures": 3});
    let acts = [("h verify-health a", Act::Fail), ("h verify-health c", Act::Fail)];
    let done = run(rolling(block), &acts).await;
    let gates: Vec<&String> = done.calls.iter().filter(|call| call.starts_with('p')).collect();
    assert_eq!(gates, ["p verify-health a,b,c", "p verify-health a", "p verify-health b", "p verify-health a,b,c"]);
    let block = json!({"health": [{"component": "p"}], "canaries": 1, "batch": 2});
    let done = run(rolling(block), &[]).await;
    let gates: Vec<&String> = done.calls.iter().filter(|call| call.starts_with('p')).collect();
    assert_eq!(gates, ["p verify-health a,b,c", "p verify-health a", "p verify-health a,b,c"]);
}

#[tokio::test]
async fn where_a_batch_does_not_pass_its_gate_all_hosts_decide() {
    let retry = json!({"attempts": 2, "delay": "1ms"});
    let block = json!({"health": [{"component": "p", "retry": retry}], "over": "ab"});
    let (all, part) = ("p verify-health a,b,c", "p verify-health a");
    let done = run(rolling(block.clone()), &[(part, Act::Unhealthy)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Succeeded, "{:?}", done.summary.failures);
    assert_eq!(done.calls, [all, "h verify-health a", part, all, "h verify-health b", all]);
    assert!(done.summary.failures.is_empty() && done.summary.recap.0["a"].failed == 0);

    // Healthy at first, then nowhere.
    let acts = [(part, Act::Unhealthy), (all, Act::UnhealthyAgain)];
    let done = run(rolling(block), &acts).await;
    assert_eq!(done.summary.outcome, RunOutcome::Failed);
    assert_eq!(done.calls, [all, "h verify-health a", part, all, all]);
    assert_eq!(done.summary.failures.len(), 1);
    let begun: Vec<u32> = done
        .bench
        .lines()
        .into_iter()
        .filter_map(|line| match line.entry {
            Entry::StepBegun(begun) if begun.attempt.step == "nodes/gate-1/p" => Some(begun.attempt.attempt),
            _ => None,
        })
        .collect();
    assert_eq!(begun, [1, 2, 3]);
}

#[tokio::test]
async fn what_was_changed_on_a_real_host_soaks() {
    let steps = json!([{"name": "check", "component": "p", "operation": "update"}]);
    let mut block = rolling(json!({"soak": "20ms", "steps": steps}));
    let backup = json!({"name": "backup", "component": "p", "operation": "backup"});
    block["steps"].as_array_mut().unwrap().insert(0, backup);
    let acts = [("p update c", Act::Nothing)];
    let mut inventory = inventory().resolve();
    for (name, host) in &mut inventory.hosts {
        host.connection = if name == "a" { Connection::Simulated } else { Connection::Ssh };
    }
    let begun = std::time::Instant::now();
    let done = run_over(inventory, &[("w.json", block)], &acts, Console { present: true, yes: true }, false).await;
    let soaks = done
        .bench
        .events
        .0
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            EventKind::Soaking { step, hosts, .. } => Some(format!("{step} {}", hosts.join(","))),
            _ => None,
        })
        .collect::<Vec<_>>();
    assert_eq!(done.calls[1..], ["p update a", "p update b", "p update c"], "{:?}", done.summary);
    assert_eq!(soaks, ["nodes b"], "a is simulated, c was as it should be");
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[tokio::test]
async fn batches_are_kept_in_inventory_order() {
    let done = run(rolling(json!({"batch": [1, 2]})), &[]).await;
    let batches: Vec<Vec<String>> = done
        .decisions()
        .into_iter()
        .filter_map(|what| match what {
            Decision::Batch { hosts, .. } => Some(hosts),
            _ => None,
        })
        .collect();
    assert_eq!(batches, [vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]]);
}

#[tokio::test]
async fn a_host_for_which_nothing_is_to_be_done_is_left_alone() {
    let block = json!({
        "maintenance": ["p"],
        "pause": {"before": {"message": "stop ${host.name}"}},
        "steps": [{"name": "check", "component": "h", "operation": "verify", "when": "host.name == 'b'"}]
    });
    let done = run(rolling(block), &[]).await;
    assert_eq!(done.calls, ["p maintenance-enter b", "h verify-health b", "p maintenance-leave b"]);
    let asked: Vec<String> = done
        .decisions()
        .into_iter()
        .filter_map(|what| match what {
            Decision::Answered { message, .. } => Some(message),
            _ => None,
        })
        .collect();
    assert_eq!(asked, ["stop b"]);
}

#[tokio::test]
async fn a_gate_over_no_host_is_asked_all_the_same() {
    let mut inventory = inventory();
    inventory.groups.insert("h".to_owned(), serde_json::from_value(json!({"hosts": []})).unwrap());
    let block = rolling(json!({"over": "a", "health": [{"component": "h"}]}));
    let yes = Console { present: true, yes: true };
    let done = run_over(inventory.resolve(), &[("w.json", block)], &[], yes, false).await;
    assert_eq!(done.calls.first().map(|call| call.trim()), Some("h verify-health"), "{:?}", done.calls);
}
