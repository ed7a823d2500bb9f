//! Never calls the host and never returns.

use std::hint::black_box;

use runner_guests::sdk::{Invocation, Problem, Report};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    let mut number = 1_u64;
    while black_box(number) != 0 {
        number = black_box(number.wrapping_mul(3));
    }
    runner_guests::done("left the loop")
}

runner_guests::guest!(backup);
