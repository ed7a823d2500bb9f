//! Behaves: reboots its host and says which boot marker it came back with.

use runner_guests::sdk::api::host::{RebootOrder, reboot};
use runner_guests::sdk::{Invocation, Problem, Report, parse};
use serde_json::Value;

fn backup(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Value = parse(invocation)?;
    let seconds = parameters["seconds"].as_u64().unwrap_or_default();
    let orders: Vec<RebootOrder> = invocation
        .target
        .hosts
        .iter()
        .map(|host| RebootOrder {
            host: host.name.clone(),
            key: "once".to_owned(),
            time_out: u32::try_from(seconds * 1000).unwrap_or(u32::MAX),
        })
        .collect();
    let mut back = Vec::new();
    for facts in reboot(&orders) {
        back.push(facts?.boot);
    }
    runner_guests::done(&format!("back as {}", back.join(", ")))
}

runner_guests::guest!(backup);
