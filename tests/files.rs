//! Files of every kind that are malformed, truncated or huge: refused at once, with the file's name, by exit code 2.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runner_tests::{Ended, Invocation, plugins, root};
use tempfile::TempDir;

/// Usage, or input files that are wrong.
const USAGE: i32 = 2;

/// The files of a run; each may be replaced by a wrong one.
const FILES: [(&str, &str); 5] = [
    ("workflow", "workflows/backup-all.json"),
    ("inventory", "workflows/inventories/demo/inventory.json"),
    ("policy", "workflows/inventories/demo/policy.json"),
    ("releases", "workflows/releases.json"),
    ("platform", "workflows/inventories/demo/platform.json"),
];

/// Copies of the files of a run in a folder of their own.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Result<Self> {
        let files = Self { folder: TempDir::with_prefix("runner-files-")? };
        for (kind, path) in FILES {
            fs::copy(root().join(path), files.path(kind)).with_context(|| format!("copying {path}"))?;
        }
        Ok(files)
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.path().join(format!("{kind}.json"))
    }

    fn run(&self) -> Result<Ended> {
        let mut call = Invocation::new(["run"]).args([self.path("workflow").into_os_string()]);
        for kind in ["inventory", "policy", "releases"] {
            call = call.args([format!("--{kind}").into(), self.path(kind).into_os_string()]);
        }
        call.env("RUNNER_STATE_DIR", self.folder.path().join("state")).run()
    }

    /// Refused at once with the file's name, and nothing begun.
    fn refused(&self, what: &str, kind: &str) -> Result<Ended> {
        let begun = Instant::now();
        let ended = self.run()?.with(USAGE).with_context(|| format!("{kind}: {what}"))?;
        let name = format!("{kind}.json");
        ensure!(ended.stderr.contains(&name), "{what}: {name} is not named:\n{}", ended.stderr);
        ensure!(!ended.stderr.contains("panicked"), "{what}: runner panicked:\n{}", ended.stderr);
        ensure!(begun.elapsed() < Duration::from_secs(20), "{what}: it took {:?}", begun.elapsed());
        ensure!(ended.stderr.len() < 1 << 20, "{what}: {} bytes of message", ended.stderr.len());
        ensure!(!runs(&self.folder.path().join("state")), "{what}: a run was begun");
        Ok(ended)
    }
}

fn runs(state: &Path) -> bool {
    fs::read_dir(state.join("runs")).is_ok_and(|mut runs| runs.next().is_some())
}

/// Each file in turn with this content is refused.
fn each_refused(what: &str, content: impl Fn(&str) -> Vec<u8>) -> Result<()> {
    for (kind, path) in FILES {
        let files = Files::new()?;
        let original = fs::read_to_string(root().join(path))?;
        fs::write(files.path(kind), content(&original))?;
        files.refused(what, kind)?;
    }
    Ok(())
}

#[test]
fn the_files_as_they_are_are_accepted() -> Result<()> {
    Files::new()?.run()?.with(0)?;
    Ok(())
}

#[test]
fn empty_files_are_refused() -> Result<()> {
    each_refused("empty", |_| Vec::new())
}

#[test]
fn truncated_files_are_refused() -> Result<()> {
    for tenth in [1, 5, 9] {
        each_refused("truncated", |text| text.as_bytes()[..text.len() * tenth / 10].to_vec())?;
    }
    each_refused("without its last bracket", |text| text.trim_end().trim_end_matches('}').into())
}

#[test]
fn files_that_are_no_text_are_refused() -> Result<()> {
    each_refused("no UTF-8", |text| [text.as_bytes(), &[0xff, 0xfe]].concat())?;
    each_refused("bytes", |_| (0..4096_u32).map(|n| (n * 37 % 251) as u8).collect())?;
    each_refused("zeros", |_| vec![0; 4096])
}

#[test]
fn huge_files_are_refused() -> Result<()> {
    each_refused("huge", |text| {
        let mut text = text.trim_end().trim_end_matches('}').to_owned();
        text.push_str(", \"more\": \"");
        text.push_str(&"x".repeat(80 << 20));
        text.push_str("\"}");
        text.into_bytes()
    })
}

#[test]
fn files_that_nest_without_end_are_refused() -> Result<()> {
    each_refused("nested", |_| "[".repeat(1 << 20).into_bytes())?;
    each_refused("nested objects", |_| "{\"a\":".repeat(1 << 20).into_bytes())
}

#[test]
fn files_of_another_kind_are_refused() -> Result<()> {
    each_refused("a list", |_| b"[1, 2, 3]".to_vec())?;
    each_refused("a number", |_| b"7".to_vec())?;
    each_refused("another object", |_| br#"{"hello": "world"}"#.to_vec())
}

#[test]
fn unknown_and_repeated_fields_are_refused_with_their_place() -> Result<()> {
    let insert = |text: &str, field: &str| text.replacen('{', &format!("{{\n  {field},"), 1).into_bytes();
    for (kind, path) in FILES {
        let files = Files::new()?;
        let original = fs::read_to_string(root().join(path))?;
        fs::write(files.path(kind), insert(&original, "\"nonsense\": 1"))?;
        let ended = files.refused("an unknown field", kind)?;
        ensure!(
            ended.stderr.contains("nonsense") && ended.stderr.contains(&format!("{kind}.json:2:")),
            "{kind}: neither field nor line:\n{}",
            ended.stderr
        );
    }
    Ok(())
}

#[test]
fn a_file_that_is_not_there_is_named() -> Result<()> {
    for (kind, _) in FILES {
        let files = Files::new()?;
        fs::remove_file(files.path(kind))?;
        files.refused("not there", kind)?;
    }
    Ok(())
}

#[test]
fn a_directory_in_place_of_a_file_is_named() -> Result<()> {
    for (kind, _) in FILES {
        let files = Files::new()?;
        fs::remove_file(files.path(kind))?;
        fs::create_dir(files.path(kind))?;
        files.refused("a directory", kind)?;
    }
    Ok(())
}

#[test]
fn values_of_inputs_are_checked_before_anything_starts() -> Result<()> {
    for (workflow, value, says) in [
        ("backout-all", "no_interactive=perhaps", "no_interactive"),
        ("backout-all", "interactive_backuot=False", "interactive_backout"),
        ("backout-all", "partial=[1]", "partial"),
        ("backout-all", "=x", "="),
        ("update-all", "release=9.9", "9.9"),
    ] {
        let state = TempDir::new()?;
        let ended = Invocation::new(["run", &format!("workflows/{workflow}.json"), "-e", value])
            .env("RUNNER_STATE_DIR", state.path())
            .run()?
            .with(USAGE)
            .with_context(|| value.to_owned())?
            .says(&[says])?;
        ensure!(!ended.stderr.contains("panicked") && !runs(state.path()), "{value}: {}", ended.stderr);
    }
    Ok(())
}

#[test]
fn damaged_plugins_are_refused_by_name() -> Result<()> {
    let whole = fs::read(plugins().join("etcd.wasm"))?;
    let damaged: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("text", b"hello".to_vec()),
        ("magic only", b"\0asm\x0d\0\x01\0".to_vec()),
        ("bytes in the middle", {
            let mut bytes = whole.clone();
            let middle = bytes.len() / 2;
            bytes[middle..middle + 64].fill(0xff);
            bytes
        }),
    ];
    for (what, bytes) in damaged {
        let folder = TempDir::new()?;
        for entry in fs::read_dir(plugins())? {
            let entry = entry?;
            fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
        }
        fs::write(folder.path().join("etcd.wasm"), bytes)?;
        let ended = Invocation::new(["run", "workflows/backup-all.json", "--plugins"])
            .args([folder.path().as_os_str()])
            .env("RUNNER_STATE_DIR", folder.path().join("state"))
            .run()?;
        ensure!(ended.code != Some(0), "{what}: it was accepted");
        ensure!(ended.stderr.contains("etcd"), "{what}: the plugin is not named:\n{}", ended.stderr);
        ensure!(!ended.stderr.contains("panicked"), "{what}: runner panicked:\n{}", ended.stderr);
    }
    Ok(())
}
