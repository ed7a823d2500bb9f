//! Guests that misbehave: each fails its step with a clear reason, or is kept from what it is not given; and the rest of
//! the workflow goes on.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use runner_tests::{Ended, Invocation, guests, root};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Exit codes of the binary.
const SUCCEEDED: i32 = 0;
const USAGE: i32 = 2;
const FAILED: i32 = 3;
const DENIED: i32 = 5;

/// A platform of one host, and a workflow in which a guest is followed by one that behaves.
struct Stage {
    folder: TempDir,
}

impl Stage {
    fn new(guest: &str, step: Value, grants: &[Value]) -> Result<Self> {
        let stage = Self { folder: TempDir::with_prefix("runner-guest-")? };
        let mut step = step;
        for (name, value) in
            [("name", guest), ("component", guest), ("operation", "backup"), ("on-failure", "continue")]
        {
            step[name] = json!(value);
        }
        let workflow = json!({
            "name": "guests",
            "steps": [step, {"name": "good", "component": "good", "operation": "backup", "needs": []}],
        });
        let mut grants = grants.to_vec();
        grants.push(json!({"plugin": "good", "allow": "files.read", "paths": ["/etc/hostname"]}));
        stage.write("workflow.json", &workflow)?;
        stage.write("policy.json", &json!({"grants": grants}))?;
        stage.write(
            "inventory.json",
            &json!({"name": "small", "connection": "simulated", "platform": "platform.json", "hosts": {"alone": {}}}),
        )?;
        stage.write(
            "platform.json",
            &json!({"name": "small", "hosts": {"alone": {"files": {"/etc/hostname": "alone\n", "/tmp": {"directory": true}}}}}),
        )?;
        Ok(stage)
    }

    fn write(&self, name: &str, value: &Value) -> Result<()> {
        Ok(fs::write(self.path(name), serde_json::to_vec_pretty(value)?)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> Result<Ended> {
        let arguments =
            ["run", "workflow.json", "--inventory", "inventory.json", "--policy", "policy.json", "--plugins"];
        Invocation::new(arguments)
            .args([guests()?.into_os_string()])
            .env("RUNNER_STATE_DIR", self.path("state"))
            .directory(self.folder.path())
            .run()
    }

    /// Standard error and the journal.
    fn everything(&self, ended: &Ended) -> Result<String> {
        let mut text = ended.stderr.clone();
        for run in fs::read_dir(self.path("state/runs"))? {
            text.push_str(&fs::read_to_string(run?.path().join("journal.jsonl"))?);
        }
        Ok(text)
    }
}

/// Runs a guest; it ends with this code and says these texts, and the guest after it has done its work.
fn meets(guest: &str, code: i32, texts: &[&str]) -> Result<String> {
    meets_with(guest, json!({}), &[], code, texts)
}

fn meets_with(guest: &str, step: Value, grants: &[Value], code: i32, texts: &[&str]) -> Result<String> {
    let stage = Stage::new(guest, step, grants)?;
    let ended = stage.run()?.with(code)?.says(texts)?;
    let everything = stage.everything(&ended)?;
    ensure!(everything.contains("read 1 files"), "the guest after it did not do its work:\n{everything}");
    ensure!(!ended.stderr.contains("panicked at host/"), "runner panicked:\n{}", ended.stderr);
    Ok(everything)
}

fn grant(plugin: &str, capability: &str, path: &str) -> Value {
    json!({"plugin": plugin, "allow": capability, "paths": [path]})
}

#[test]
fn one_that_behaves_succeeds() -> Result<()> {
    let stage = Stage::new("good", json!({}), &[])?;
    let workflow = json!({"name": "guests", "steps": [{"name": "good", "component": "good", "operation": "backup"}]});
    stage.write("workflow.json", &workflow)?;
    stage.run()?.with(SUCCEEDED)?;
    Ok(())
}

#[test]
fn a_command_needs_a_grant_and_a_file_that_has_one_is_written() -> Result<()> {
    let with = |parameters: Value| json!({"with": parameters});
    let grants = [grant("commands", "files.write", "/tmp/*")];
    meets_with("commands", with(json!({"commands": [["uname", "-r"]]})), &grants, DENIED, &["exec.run", "uname"])?;
    meets_with("commands", with(json!({"files": ["/tmp/one", "/tmp/two"]})), &grants, SUCCEEDED, &["wrote 2 files"])
        .map(drop)
}

#[test]
fn a_reboot_brings_its_host_back() -> Result<()> {
    let grants = [json!({"plugin": "reboot", "allow": "host.reboot", "hosts": ["alone"]})];
    meets_with("reboot", json!({"with": {"seconds": 5}}), &grants, SUCCEEDED, &["back as"])?;
    meets("reboot", DENIED, &["host.reboot"]).map(drop)
}

#[test]
fn a_trap_fails_its_step() -> Result<()> {
    meets("trap", FAILED, &["trap", "this guest traps"]).map(drop)
}

#[test]
fn a_loop_without_end_is_interrupted() -> Result<()> {
    let begun = Instant::now();
    meets("spin", FAILED, &["spin"])?;
    ensure!(begun.elapsed() < Duration::from_secs(120), "it took {:?}", begun.elapsed());
    Ok(())
}

#[test]
fn one_that_takes_all_memory_is_stopped() -> Result<()> {
    meets("hoard", FAILED, &["hoard", "memory"]).map(drop)
}

#[test]
fn recursion_without_end_is_stopped() -> Result<()> {
    meets("recurse", FAILED, &["recurse", "trap"]).map(drop)
}

#[test]
fn the_process_is_not_the_guests_to_end() -> Result<()> {
    meets("leave", FAILED, &["leave", "exit"]).map(drop)
}

#[test]
fn what_is_said_beyond_the_quota_is_dropped_and_counted() -> Result<()> {
    let everything = meets("chatter", SUCCEEDED, &[])?;
    ensure!(everything.len() < 8 << 20, "{} bytes were kept", everything.len());
    ensure!(everything.contains("dropped"), "nothing says that lines were dropped");
    Ok(())
}

#[test]
fn calls_without_end_are_stopped() -> Result<()> {
    let grants = [grant("flood", "files.stat", "/etc/hostname")];
    meets_with("flood", json!({}), &grants, FAILED, &["flood", "calls"]).map(drop)
}

#[test]
fn a_payload_beyond_the_bound_is_refused() -> Result<()> {
    let grants = [grant("payload", "files.write", "/tmp/payload")];
    let everything = meets_with("payload", json!({}), &grants, FAILED, &["payload"])?;
    ensure!(!everything.contains("sent 40 MiB"), "40 MiB were taken");
    Ok(())
}

#[test]
fn what_is_not_requested_is_denied_and_a_grant_would_not_help() -> Result<()> {
    let grants = [json!({"plugin": "stray", "allow": "systemd.stop", "units": ["sshd.service"]})];
    meets_with("stray", json!({}), &grants, DENIED, &["systemd.stop", "manifest"]).map(drop)
}

#[test]
fn a_question_that_is_not_declared_is_not_asked() -> Result<()> {
    meets("question", FAILED, &["question", "root-password"]).map(drop)
}

#[test]
fn the_sandbox_holds_nothing_of_the_machine() -> Result<()> {
    let stage = Stage::new("burglar", json!({}), &[])?;
    let ended = stage.run()?;
    let everything = stage.everything(&ended)?;
    ensure!(!everything.contains("took "), "it took something:\n{everything}");
    ensure!(everything.contains("read 1 files"), "the guest after it did not do its work");
    Ok(())
}

#[test]
fn a_report_that_nests_without_end_fails_its_step() -> Result<()> {
    meets("nest", FAILED, &["nest"]).map(drop)
}

#[test]
fn a_backup_that_was_never_made_is_no_backup() -> Result<()> {
    let stage = Stage::new("forger", json!({}), &[])?;
    let ended = stage.run()?.with(FAILED)?;
    ended.says(&["forger"])?;
    let sets = stage.path("state/sets");
    if sets.is_dir() {
        for set in fs::read_dir(sets)? {
            let text = fs::read_to_string(set?.path())?;
            ensure!(!text.contains("\"forger\""), "a set was kept: {text}");
        }
    }
    Ok(())
}

#[test]
fn a_sleep_ends_with_its_steps_time() -> Result<()> {
    let begun = Instant::now();
    meets_with("sleeper", json!({"timeout": "2s"}), &[], FAILED, &["sleeper"])?;
    ensure!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
    Ok(())
}

/// A guest whose contract calls one case of `problem` otherwise.
fn built_against_another_contract(folder: &Path) -> Result<PathBuf> {
    let (ours, theirs) = (b"declined", b"rejected");
    let mut bytes = fs::read(guests()?.join("good.wasm"))?;
    let mut changed = 0;
    while let Some(at) = bytes.windows(ours.len()).position(|window| window == ours) {
        bytes[at..at + theirs.len()].copy_from_slice(theirs);
        changed += 1;
    }
    ensure!(changed > 0, "the guest does not name the case");
    fs::create_dir(folder)?;
    let path = folder.join("good.wasm");
    fs::write(&path, bytes)?;
    Ok(path)
}

const OTHER_CONTRACT: [&str; 3] = [
    "was built against another state of the contract runner:plugin@0.1.0:",
    "export operations.backup, export operations.update, export operations.backout and 1 more: `problem` lacks the case \
     `declined` and has the case `rejected`",
    "build it anew against the wit/ of this runner",
];

#[test]
fn one_built_against_another_contract_is_refused_before_anything_begins() -> Result<()> {
    let stage = Stage::new("good", json!({}), &[])?;
    let workflow = json!({"name": "guests", "steps": [{"name": "good", "component": "good", "operation": "backup"}]});
    stage.write("workflow.json", &workflow)?;
    built_against_another_contract(&stage.path("plugins"))?;
    let arguments = ["run", "workflow.json", "--inventory", "inventory.json", "--policy", "policy.json"];
    let ended = Invocation::new(arguments)
        .args(["--plugins", "plugins"])
        .env("RUNNER_STATE_DIR", stage.path("state"))
        .directory(stage.folder.path())
        .run()?;
    ended.with(USAGE)?.says(&OTHER_CONTRACT)?.says(&[
        "plugins/good.wasm",
        "the plugin good 0.1.0",
        "plugin inspect",
    ])?;
    ensure!(!stage.path("state/runs").exists(), "a run was begun");
    Ok(())
}

#[test]
fn one_built_against_another_contract_is_not_packed() -> Result<()> {
    let folder = TempDir::with_prefix("runner-guest-")?;
    let component = built_against_another_contract(&folder.path().join("plugins"))?;
    let manifest = root().join("tests/guests/good/manifest.json");
    let target = folder.path().join("packed.wasm");
    Invocation::new(["plugin", "pack"])
        .args([component.as_os_str(), OsStr::new("--manifest"), manifest.as_os_str()])
        .args([OsStr::new("--output"), target.as_os_str()])
        .run()?
        .with(USAGE)?
        .says(&OTHER_CONTRACT)?;
    ensure!(!target.exists(), "it was packed");
    Ok(())
}
