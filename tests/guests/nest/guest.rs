//! Reports outputs that nest far deeper than the contract allows.

use runner_guests::sdk::{Invocation, Problem, Report, ReportBuilder};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    let mut report = ReportBuilder::new().finish("reported");
    report.outputs = format!("{{\"deep\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    Ok(report)
}

runner_guests::guest!(backup);
