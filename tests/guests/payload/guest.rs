//! Sends more than a call may carry.

use runner_guests::sdk::api::files::{self, Precondition, WriteOrder};
use runner_guests::sdk::{Answers, Inputs, Invocation, Part, Problem, Report};

fn backup(invocation: &Invocation) -> Result<Report, Problem> {
    let host = invocation.host_names().into_iter().next().unwrap_or_default();
    files::write(&[WriteOrder {
        host,
        path: "/tmp/payload".into(),
        content: vec![Part::Text("x".repeat(40 << 20))],
        precondition: Precondition::Anything,
        attributes: None,
        sensitive: false,
    }])
    .all()?;
    runner_guests::done("sent 40 MiB")
}

runner_guests::guest!(backup);
