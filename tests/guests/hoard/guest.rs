//! Asks for memory until there is none.

use std::hint::black_box;

use runner_guests::sdk::{Invocation, Problem, Report};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    for _ in 0..4096 {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
    runner_guests::done(&format!("took {} MiB", hoard.len()))
}

runner_guests::guest!(backup);
