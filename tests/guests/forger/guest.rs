//! Claims a backup that it never made.

use runner_guests::sdk::{Invocation, Problem, Report, ReportBuilder, sha256};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    let mut report = ReportBuilder::new().finish("all is saved");
    report.artifacts = vec![sha256("no such thing")];
    Ok(report)
}

runner_guests::guest!(backup);
