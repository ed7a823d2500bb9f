//! The same commands on four hosts: by runner, by ansible-core, by pyinfra, and by a loop of a shell.
//!
//! Each tool runs each command by itself, on all hosts side by side, as the user that logs in. Its start and its
//! connections are in its time. Those that leave connections open for the next time are measured without any (cold) and
//! with them (warm); runner and pyinfra leave none. The rounds are interleaved, so that whatever else the machine does
//! meets all of them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::Measurement;
use super::peers::{Connections, Peers};
use super::site::{Site, timed};
use crate::table::{Row, median};

/// Hosts of the lab that the commands run on.
const HOSTS: usize = 4;
/// Commands that change nothing, need no rights, and succeed on every host of the lab.
const READS: [&[&str]; 20] = [
    &["uname", "-r"],
    &["hostname"],
    &["id"],
    &["uptime"],
    &["nproc"],
    &["cat", "/etc/os-release"],
    &["cat", "/proc/meminfo"],
    &["cat", "/proc/loadavg"],
    &["df", "-P", "/"],
    &["ls", "-l", "/etc"],
    &["stat", "/etc/passwd"],
    &["sha256sum", "/etc/passwd"],
    &["getent", "passwd", "root"],
    &["ip", "-o", "address"],
    &["ps", "-e"],
    &["dpkg-query", "--show", "openssh-server"],
    &["systemctl", "is-active", "ssh.service"],
    &["systemctl", "is-enabled", "ssh.service"],
    &["systemctl", "show", "--property=ActiveState,SubState", "ssh.service"],
    &["systemctl", "list-units", "--failed", "--no-legend"],
];
/// What the writes leave on the hosts until it is removed.
const LEFT: &str = "/tmp/runner-bench";

/// What is hoped of runner beside another.
#[derive(Clone, Copy)]
enum Goal {
    /// To be so many times faster.
    Faster(f64),
    /// To take at most this share of the time.
    Share(f64),
    /// Nothing: it is told for information.
    None,
}

/// One way to do the work, and how long it took each time.
struct Way {
    name: String,
    command: Command,
    /// Connections to close before each time.
    closing: Option<Connections>,
    goal: Goal,
    times: Vec<Duration>,
    /// Why there are no more times.
    failure: Option<String>,
}

/// Ways to do the same; the first is what the others are held against.
struct Race {
    what: &'static str,
    ways: Vec<Way>,
}

/// Runs all of it.
pub(crate) fn measure(measurement: &Measurement<'_>, site: &Site) -> Result<Vec<Row>> {
    ensure!(
        site.hosts.len() >= HOSTS,
        "the lab has {} hosts, and this takes {HOSTS}: `cargo xtask lab down`, then `cargo xtask lab up --nodes {}`",
        site.hosts.len(),
        HOSTS - 1
    );
    let hosts = &site.hosts[..HOSTS];
    let home = TempDir::with_prefix("runner-bench-")?;
    let runner = Runner::prepare(measurement, site, hosts, &home)?;
    let peers = Peers::prepare(measurement, site, hosts, home.path())?;
    let mut races = [reads(&runner, &peers)?, writes(&runner, &peers)?];
    // What is compiled or cached once, at the first use of an installation, is not in the times.
    for way in races.iter_mut().flat_map(|race| &mut race.ways).filter(|way| way.name.starts_with("runner")) {
        timed(&mut way.command)?;
    }
    let ran = rounds(&mut races, measurement.times);
    peers.close();
    for host in hosts {
        site.ssh(host, &format!("rm -rf {LEFT} {LEFT}-*"))?;
    }
    ran?;
    Ok(races.iter().flat_map(Race::rows).collect())
}

fn rounds(races: &mut [Race], times: u32) -> Result<()> {
    for round in 1..=times {
        eprintln!("round {round} of {times}");
        for race in &mut *races {
            race.round()?;
        }
    }
    Ok(())
}

fn reads(runner: &Runner, peers: &Peers) -> Result<Race> {
    let commands: Vec<Vec<String>> = READS.iter().map(|argv| argv.iter().map(ToString::to_string).collect()).collect();
    let mut ways = vec![
        runner.way("verify", "one call with 20 commands a host", &json!({"commands": commands}))?,
        runner.way("verify", "20 calls with one command a host", &json!({"commands": commands, "one-by-one": true}))?,
    ];
    ways.extend(others(peers, "reads", &commands, [Goal::Faster(20.0), Goal::Faster(3.0), Goal::Share(0.8)])?);
    Ok(Race { what: "80 read commands on 4 hosts", ways })
}

fn writes(runner: &Runner, peers: &Peers) -> Result<Race> {
    let commands: Vec<Vec<String>> =
        (0..READS.len()).map(|number| vec!["mkdir".to_owned(), "-p".to_owned(), format!("{LEFT}/{number}")]).collect();
    let files: Vec<String> = (0..READS.len()).map(|number| format!("{LEFT}-{number}")).collect();
    let mut ways = vec![
        runner.way("backup", "one call and flush a host", &json!({"commands": commands, "writes": true}))?,
        runner.way(
            "backup",
            "20 calls and flushes a host",
            &json!({"commands": commands, "writes": true, "one-by-one": true}),
        )?,
        runner.way("backup", "as many files by `files.write`, one call and flush a host", &json!({"files": files}))?,
    ];
    ways.extend(others(peers, "writes", &commands, [Goal::None; 3])?);
    Ok(Race { what: "80 writing commands on 4 hosts", ways })
}

/// The other tools, with the goals beside ansible-core, pyinfra and the shell.
fn others(peers: &Peers, name: &str, commands: &[Vec<String>], goals: [Goal; 3]) -> Result<Vec<Way>> {
    let [ansible_goal, pyinfra_goal, shell_goal] = goals;
    let mut ways = Vec::new();
    let mut kept = |tool: &str, connections: &Connections, make: &dyn Fn() -> Result<Command>, goal| -> Result<()> {
        for (state, closing, goal) in
            [("cold", Some(connections.clone()), goal), ("warm connections", None, Goal::None)]
        {
            ways.push(Way::new(&format!("{tool}, {state}"), make()?, closing, goal));
        }
        Ok(())
    };
    let (shell, ansible) = (&peers.shell, &peers.ansible);
    kept("shell loop over ssh", &shell.connections, &|| shell.command(name, commands), shell_goal)?;
    match ansible {
        Some(ansible) => {
            kept(&ansible.label, &ansible.connections, &|| ansible.command(name, commands), ansible_goal)?;
        }
        None => ways.push(Way::missing("ansible-core")),
    }
    match &peers.pyinfra {
        Some(pyinfra) => {
            let label = &pyinfra.label;
            let command = pyinfra.command(name, commands, false)?;
            ways.push(Way::new(&format!("{label}, one operation with 20 commands"), command, None, pyinfra_goal));
            let command = pyinfra.command(name, commands, true)?;
            ways.push(Way::new(&format!("{label}, 20 operations"), command, None, pyinfra_goal));
        }
        None => ways.push(Way::missing("pyinfra")),
    }
    Ok(ways)
}

impl Way {
    fn new(name: &str, command: Command, closing: Option<Connections>, goal: Goal) -> Self {
        Self { name: name.to_owned(), command, closing, goal, times: Vec::new(), failure: None }
    }

    fn missing(name: &str) -> Self {
        let mut way = Self::new(name, Command::new(name), None, Goal::None);
        way.failure = Some("not measured: it could not be installed".to_owned());
        way
    }
}

impl Race {
    fn round(&mut self) -> Result<()> {
        for way in self.ways.iter_mut().filter(|way| way.failure.is_none()) {
            if let Some(connections) = &way.closing {
                connections.close();
            }
            match timed(&mut way.command) {
                Ok((took, _)) => way.times.push(took),
                Err(error) if way.name.starts_with("runner") => return Err(error),
                Err(error) => {
                    eprintln!("{}: {error:#}", way.name);
                    way.failure = Some("it failed, see above".to_owned());
                }
            }
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let Some(first) = self.ways.first() else { return Vec::new() };
        let own = median(first.times.clone());
        let row = |way: &Way| {
            let what = format!("{}: {}", self.what, way.name);
            if let Some(failure) = &way.failure {
                return Row::alone(what, failure.clone());
            }
            let middle = median(way.times.clone());
            let least = way.times.iter().min().copied().unwrap_or_default();
            let mut row = Row::alone(what, format!("{middle:.2?} (least {least:.2?})"));
            if !std::ptr::eq(way, first) {
                let share = own.as_secs_f64() / middle.as_secs_f64().max(f64::MIN_POSITIVE);
                row.beside = format!("{} {own:.2?}", first.name);
                row.ratio = match way.goal {
                    Goal::Faster(goal) => format!("{share:.2}: {:.1} times faster, goal {goal}", 1.0 / share),
                    Goal::Share(goal) => format!("{share:.2}, goal {goal}"),
                    Goal::None => format!("{share:.2}"),
                };
            }
            row
        };
        self.ways.iter().map(row).collect()
    }
}

/// The binary, and what it needs for a run.
struct Runner<'a> {
    measurement: &'a Measurement<'a>,
    home: &'a TempDir,
}

impl<'a> Runner<'a> {
    fn prepare(measurement: &'a Measurement<'a>, site: &Site, hosts: &[String], home: &'a TempDir) -> Result<Self> {
        let lab = &site.inventory;
        let mut access =
            lab.get("access").cloned().context("the lab's inventory does not say how hosts are reached")?;
        // As the user that logs in, as everybody here.
        access["become"] = json!(false);
        let chosen: serde_json::Map<_, _> =
            hosts.iter().map(|host| (host.clone(), json!({"address": lab["hosts"][host]["address"]}))).collect();
        let inventory = json!({
            "name": "bench", "connection": "ssh", "access": access, "hosts": chosen,
        });
        let grants = json!([
            {"plugin": "commands", "allow": "exec.run", "argv": ["**"], "effects": ["read", "write-idempotent"]},
            {"plugin": "commands", "allow": "files.write", "paths": ["/tmp/*"]},
        ]);
        std::fs::write(home.path().join("inventory.json"), inventory.to_string())?;
        std::fs::write(home.path().join("policy.json"), json!({"grants": grants}).to_string())?;
        Ok(Self { measurement, home })
    }

    /// A workflow of one step, on every host at the same time.
    fn way(&self, operation: &str, name: &str, with: &serde_json::Value) -> Result<Way> {
        let slug: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let file = self.home.path().join(format!("{slug}.json"));
        let step = json!({"name": "commands", "component": "commands", "operation": operation, "with": with});
        std::fs::write(&file, json!({"name": "commands", "steps": [step]}).to_string())?;
        let mut command = Command::new(self.measurement.runner);
        command.arg("run").arg(file).arg("--plugins").arg(self.measurement.guests);
        command.arg("--inventory").arg(self.home.path().join("inventory.json"));
        command.arg("--policy").arg(self.home.path().join("policy.json"));
        command.arg("--state-dir").arg(self.home.path().join("state"));
        Ok(Way::new(&format!("runner, {name}"), command, None, Goal::None))
    }
}
