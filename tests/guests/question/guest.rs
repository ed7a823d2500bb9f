//! Asks a question that its manifest does not list.

use runner_guests::sdk::api::operator::{self, Confirmation, Question};
use runner_guests::sdk::{Invocation, Problem, Report};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    let yes = operator::confirm(&Confirmation {
        question: Question {
            key: "root-password".into(),
            message: "Type the root password".into(),
            why: String::new(),
            fact: false,
        },
        default: true,
        destroys: String::new(),
    })?;
    runner_guests::done(if yes { "was answered yes" } else { "was answered no" })
}

runner_guests::guest!(backup);
