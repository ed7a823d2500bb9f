//! Looks for what a sandbox should not have: arguments, environment, files, the network.

use std::net::TcpStream;

use runner_guests::sdk::{Invocation, Problem, Report, refused};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    let mut loot = Vec::new();
    loot.extend(std::env::args().next().map(|_| "arguments"));
    loot.extend(std::env::vars().next().map(|_| "environment"));
    loot.extend(std::fs::read("/etc/hostname").ok().map(|_| "a file"));
    loot.extend(TcpStream::connect("127.0.0.1:22").ok().map(|_| "a connection"));
    if loot.is_empty() {
        return runner_guests::done("found nothing to take");
    }
    Err(refused("loot", "sandbox", format!("took {}", loot.join(", "))))
}

runner_guests::guest!(backup);
