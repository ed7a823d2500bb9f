//! Calls itself until the stack is used up.

use std::hint::black_box;

use runner_guests::sdk::{Invocation, Problem, Report};

fn deeper(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    deeper(depth + 1).wrapping_add(room[black_box(3)])
}

fn backup(_: &Invocation) -> Result<Report, Problem> {
    runner_guests::done(&format!("came back with {}", deeper(0)))
}

runner_guests::guest!(backup);
