//! The same procedure on simulated platforms of different sizes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::table::Row;

const DEMO: &str = "workflows/inventories/demo";

pub(crate) fn measure(runner: &Path, hosts: &[u32]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut smallest: Option<(u32, [Duration; 3])> = None;
    for count in hosts {
        let home = tempfile::tempdir()?;
        platform(home.path(), *count)?;
        procedure(home.path(), "backup", "backup", json!({}))?;
        let versions = json!("${releases['2.0'].docker.versions}");
        procedure(home.path(), "update", "update", json!({"versions": versions}))?;
        procedure(home.path(), "backout", "backout", json!({}))?;
        let mut times = [Duration::ZERO; 3];
        for (index, name) in ["backup", "update", "backout"].into_iter().enumerate() {
            let (time, memory) = run(runner, home.path(), name)?;
            times[index] = time;
            let mut row = Row::alone(
                format!("{name} of one component on {count} hosts"),
                format!("{time:.2?}, {} MiB resident", memory >> 10),
            );
            if let Some((hosts, first)) = smallest {
                let per_host = |time: Duration, hosts: u32| time.as_secs_f64() / f64::from(hosts.max(1));
                row.beside = format!("per host on {hosts} hosts: {:.2?}", first[index] / hosts.max(1));
                row.ratio = format!("{:.2}", per_host(time, *count) / per_host(first[index], hosts));
            }
            rows.push(row);
        }
        smallest.get_or_insert((*count, times));
    }
    Ok(rows)
}

/// The demo platform with so many nodes.
fn platform(home: &Path, nodes: u32) -> Result<()> {
    let read =
        |name: &str| -> Result<Value> { Ok(serde_json::from_str(&fs::read_to_string(Path::new(DEMO).join(name))?)?) };
    let (mut inventory, mut seed) = (read("inventory.json")?, read("platform.json")?);
    for number in 3..=nodes {
        let node = format!("node-{number}");
        let address = format!("127.1.{}.{}", number / 250, number % 250 + 1);
        inventory["hosts"][&node] = json!({"address": address, "node": node});
        inventory["groups"]["nodes"]["hosts"].as_array_mut().context("no nodes")?.push(json!(node));
        seed["hosts"][&node] = json!({"like": ["debian", "node"], "address": address});
        seed["clusters"]["main"]["nodes"][&node] = json!({
            "internal-ip": format!("10.1.{}.{}", number / 250, number % 250 + 1),
            "pod-cidr": format!("10.{}.{}.0/24", 100 + number / 250, number % 250),
        });
    }
    inventory["groups"]["etcd"] = json!({"hosts": ["master-1", "node-1", "node-2"]});
    fs::write(home.join("inventory.json"), inventory.to_string())?;
    fs::write(home.join("platform.json"), seed.to_string())?;
    fs::copy(Path::new(DEMO).join("policy.json"), home.join("policy.json"))?;
    fs::copy("workflows/releases.json", home.join("releases.json"))?;
    Ok(())
}

fn procedure(home: &Path, name: &str, operation: &str, with: Value) -> Result<()> {
    let workflow = json!({
        "name": name,
        "inputs": {"yes": {"type": "boolean", "default": true}},
        "answers": {"docker/stop-containers": {"input": "yes"}},
        "steps": [{"name": "docker", "component": "docker", "operation": operation, "targets": "nodes", "with": with}]
    });
    Ok(fs::write(home.join(format!("{name}.json")), workflow.to_string())?)
}

/// Runs a workflow; answers its time and the most memory that it had, in KiB.
fn run(runner: &Path, home: &Path, name: &str) -> Result<(Duration, u64)> {
    let begun = Instant::now();
    let mut child = Command::new(runner)
        .arg("run")
        .arg(home.join(format!("{name}.json")))
        .args(["--plugins", "target/plugins"])
        .arg("--inventory")
        .arg(home.join("inventory.json"))
        .arg("--state-dir")
        .arg(home.join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(home.join("stderr"))?)
        .spawn()?;
    let mut most = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        most = most.max(resident(child.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(10));
    };
    let time = begun.elapsed();
    let said = fs::read_to_string(home.join("stderr"))?;
    ensure!(status.success(), "{name}: {said}");
    Ok((time, most))
}

/// `VmHWM` of a process: the most that was resident, in KiB (proc(5)).
pub(crate) fn resident(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
