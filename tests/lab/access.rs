//! Hosts that answer strangely: silent, with another host key, asking for a password.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use runner_tests::{Ended, Invocation, guests};

use crate::platform::{Lab, quoted, recap};

/// Exit codes of the binary.
const SUCCEEDED: i32 = 0;
const FAILED: i32 = 3;
const UNREACHABLE: i32 = 4;
const IN_DOUBT: i32 = 10;

/// Seconds for which a host hangs.
const HANGS: u32 = 40;
/// How long runner may take to know it of one host: ssh gives up after ten seconds without a greeting.
const KNOWN: Duration = Duration::from_secs(25);

/// Connections are taken by the kernel, and nobody says a word.
pub(crate) fn hangs(lab: &Lab) -> Result<()> {
    let nodes = lab.with("node");
    let (gone, there) = (*nodes.last().context("no node")?, *nodes.first().context("no node")?);
    let state = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    lab.on(
        gone,
        &format!(
            "systemd-run --collect --on-active={HANGS} systemctl kill --signal=CONT ssh.service && \
             systemctl kill --kill-who=main --signal=STOP ssh.service"
        ),
    )?;
    let looked = || -> Result<()> {
        let begun = Instant::now();
        let why = [gone, "UNREACHABLE", "the host hangs, or is overloaded"];
        lab.check(&lab.path("inventory.json"))?.with(UNREACHABLE)?.says(&why)?;
        ensure!(begun.elapsed() < KNOWN, "it took {:?}", begun.elapsed());
        let ended = lab.workflow(state.path(), "backup-all", &[]).run()?.with(UNREACHABLE)?;
        let (lost, other) = (recap(&ended, gone)?, recap(&ended, there)?);
        ensure!(lost.contains("unreachable=1 "), "{lost}");
        ensure!(other.contains("unreachable=0") && other.contains("failed=0"), "{other}");
        ended.says(&["cannot connect to", gone])?;
        Ok(())
    }();
    lab.until(Duration::from_secs(120), || lab.on(gone, "true"))?;
    looked
}

/// The key that is trusted is another one than the host shows.
pub(crate) fn changed_key(lab: &Lab) -> Result<()> {
    let hosts = lab.with("node");
    let (changed, other) = (*hosts.last().context("no node")?, *hosts.first().context("no node")?);
    let folder = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    let known = fs::read_to_string(lab.path("known_hosts"))?;
    let (changed_at, other_at) = (&lab.host(changed)?.address, &lab.host(other)?.address);
    let of = |address: &str| {
        known.lines().find(|line| line.split([' ', ',']).next().is_some_and(|name| name.contains(address)))
    };
    let (its, another) = (of(changed_at).context("no key of it")?, of(other_at).context("no key of the other")?);
    let (name, _) = its.split_once(' ').context("no key")?;
    let (_, key) = another.split_once(' ').context("no key")?;
    let swapped = folder.path().join("known_hosts");
    fs::write(&swapped, known.replace(its, &format!("{name} {key}")))?;
    let inventory = lab.inventory(folder.path(), |inventory| inventory["access"]["known-hosts"] = json!(swapped))?;

    let danger = ["DANGER: the host key of", changed, &format!("runner inventory trust {changed} --replace")];
    lab.check(&inventory)?.with(UNREACHABLE)?.says(&danger)?;
    let ended = lab
        .runner_by(&inventory, folder.path(), &["run", "workflows/backup-all.json"])
        .run()?
        .with(UNREACHABLE)?
        .says(&danger)?;
    let told = recap(&ended, other)?;
    ensure!(told.contains("unreachable=0") && told.contains("failed=0"), "{told}");
    Ok(())
}

/// The user `pat`, whom sudo asks for a password.
pub(crate) fn sudo_password(lab: &Lab) -> Result<()> {
    let folder = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    let state = folder.path().join("state");
    let password = lab.password_file("pat")?;
    let by = |source: Option<&Path>| {
        lab.inventory(folder.path(), |inventory| {
            inventory["access"]["user"] = json!("pat");
            if let Some(file) = source {
                inventory["access"]["become"] = json!({"user": "root", "password": "sudo"});
                inventory["secrets"] = json!({"sudo": {"file": file}});
            }
        })
    };
    let backup = |inventory: &Path| lab.runner_by(inventory, &state, &["run", "workflows/backup-all.json"]).run();

    let none = by(None)?;
    lab.check(&none)?.with(FAILED)?.says(&["asks for a password and the inventory names none"])?;
    backup(&none)?.with(FAILED)?.says(&["asks for a password and the inventory names none"])?;

    // A wrong one is not tried again and again: that would lock the account.
    let wrong = folder.path().join("wrong");
    fs::write(&wrong, "not-the-password\n")?;
    let host = *lab.with("master").first().context("no master")?;
    // sudo notes this very command, too, and that is not to be counted.
    let refused = || -> Result<usize> {
        Ok(lab
            .on(host, "journalctl --quiet --no-pager | grep -c '[i]ncorrect password attempt' || true")?
            .trim()
            .parse()?)
    };
    let before = refused()?;
    backup(&by(Some(&wrong))?)?.with(FAILED)?.says(&["does not accept the password of the secret sudo", host])?;
    let tried = refused()? - before;
    ensure!(tried == 1, "a wrong password was given {tried} times in one run");

    let right = by(Some(password))?;
    lab.check(&right)?.with(SUCCEEDED)?;
    backup(&right)?.with(SUCCEEDED)?;
    let secret = fs::read_to_string(password)?;
    let kept = std::process::Command::new("grep")
        .args(["--recursive", "--files-with-matches", "--fixed-strings", "--", secret.trim()])
        .arg(&state)
        .output()?;
    ensure!(kept.stdout.is_empty(), "the password is in {}", String::from_utf8_lossy(&kept.stdout));
    // This command is noted too: it must not hold what it looks for.
    let (first, rest) = secret.trim().split_at_checked(1).context("no password")?;
    let pattern = quoted(&format!("[{first}]{rest}"));
    let logged = lab.on(host, &format!("journalctl --quiet --no-pager | grep -c {pattern} || true"))?;
    ensure!(logged.trim() == "0", "the password is in the journal of {host}");
    Ok(())
}

/// A host that reboots is waited for, as long as was said and no longer.
pub(crate) fn reboot(lab: &Lab) -> Result<()> {
    let host = *lab.with("node").last().context("no node")?;
    let folder = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    let write = |name: &str, value: serde_json::Value| -> Result<std::path::PathBuf> {
        let path = folder.path().join(name);
        fs::write(&path, value.to_string())?;
        Ok(path)
    };
    let policy =
        write("policy.json", json!({"grants": [{"plugin": "reboot", "allow": "host.reboot", "hosts": [host]}]}))?;
    let run = |seconds: u32| -> Result<Ended> {
        let step = json!({
            "name": "reboot", "component": "reboot", "operation": "backup", "targets": [host], "with": {"seconds": seconds},
        });
        let workflow = write("reboot.json", json!({"name": "reboot", "steps": [step]}))?;
        Invocation::new(["run".into(), workflow.into_os_string()])
            .args(["--inventory".into(), lab.path("inventory.json").into_os_string()])
            .args(["--policy".into(), policy.clone().into_os_string()])
            .args(["--plugins".into(), guests()?.into_os_string()])
            .env("RUNNER_STATE_DIR", folder.path().join("state"))
            .run()
    };
    let started = || lab.on(host, "cut -d' ' -f22 /proc/1/stat");

    let before = started()?;
    let begun = Instant::now();
    run(1)?.with(IN_DOUBT)?.says(&[host, "was not back within 1 s of its reboot"])?;
    ensure!(begun.elapsed() < KNOWN, "it took {:?}", begun.elapsed());
    let between = lab.until(Duration::from_secs(90), || {
        let now = started()?;
        ensure!(now != before, "{host} has not rebooted yet");
        Ok(now)
    })?;
    run(90)?.with(SUCCEEDED)?.says(&["back as"])?;
    ensure!(started()? != between, "{host} did not reboot");
    lab.until(Duration::from_secs(120), || lab.is_at("1.0"))
}
