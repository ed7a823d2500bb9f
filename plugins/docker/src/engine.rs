//! The two daemons: their units, what of them runs, and when they have to be restarted.

use std::collections::BTreeMap;

use runner_plugin_sdk::api::packages::PackageStatus;
use runner_plugin_sdk::api::systemd::UnitStatus;
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::{Answers, Command, Failure, FailureKind, exec, failure, units};
use serde_json::Value;

/// Unit of Docker Engine.
pub(crate) const DOCKER: &str = "docker.service";
/// Unit of containerd.
pub(crate) const CONTAINERD: &str = "containerd.service";
/// Both, in the order in which they are restarted.
pub(crate) const UNITS: [&str; 2] = [CONTAINERD, DOCKER];

/// Why an answer of containerd is none.
pub(crate) const NO_VERSION: &str = "ctr version names no server version";

/// Docker as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    /// Version of the running daemon.
    pub(crate) version: String,
    /// Whether containers outlive a restart of the daemon.
    pub(crate) live_restore: bool,
    /// Storage driver in use.
    pub(crate) driver: String,
}

/// The command that asks Docker about itself.
pub(crate) fn info_command(host: &str) -> Command {
    Command::read(host, ["docker", "info", "--format", "{{json .}}"]).reads(["unit:docker.service"])
}

/// Asks those of the two daemons that run, in one call.
pub(crate) fn running(host: &str, docker: bool, containerd: bool) -> Result<(Option<Info>, Option<String>), Failure> {
    let unexpected = |why: String| failure(FailureKind::Other("unexpected-answer".into()), host, why);
    let mut commands = Vec::new();
    if docker {
        commands.push(info_command(host));
    }
    if containerd {
        commands.push(containerd_command(host));
    }
    if commands.is_empty() {
        return Ok((None, None));
    }
    let mut outputs = exec::run(commands).all()?.into_iter();
    let mut next = || outputs.next().map(|output| exec::stdout(&output)).transpose();
    let info = if docker { next()? } else { None };
    let version = if containerd { next()? } else { None };
    let info = info.map(|text| parse_info(&text)).transpose().map_err(unexpected)?;
    let version = version
        .map(|text| parse_containerd(&text).ok_or_else(|| NO_VERSION.to_owned()))
        .transpose()
        .map_err(unexpected)?;
    Ok((info, version))
}

/// Reads `docker info`. Some clients end well though the daemon did not answer, and say so in the text.
pub(crate) fn parse_info(text: &str) -> Result<Info, String> {
    let info: Value = serde_json::from_str(text).map_err(|error| format!("docker info is no JSON: {error}"))?;
    if let Some(error) = info.items("/ServerErrors").first() {
        return Err(format!("Docker does not answer: {error}"));
    }
    let version = info.text("/ServerVersion").filter(|version| !version.is_empty());
    Ok(Info {
        version: version.ok_or("docker info names no server version")?.to_owned(),
        live_restore: info.is_true("/LiveRestoreEnabled"),
        driver: info.text("/Driver").unwrap_or_default().to_owned(),
    })
}

/// The command that asks containerd for its version.
pub(crate) fn containerd_command(host: &str) -> Command {
    Command::read(host, ["ctr", "version"]).reads(["unit:containerd.service"])
}

/// Reads the server's part of `ctr version`.
pub(crate) fn parse_containerd(text: &str) -> Option<String> {
    text.lines()
        .skip_while(|line| line.trim() != "Server:")
        .find_map(|line| line.trim().strip_prefix("Version:"))
        .map(|version| version.trim().to_owned())
}

/// A package's version as its program knows it: without epoch, packaging revision and repacking mark.
pub(crate) fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.split(['-', '+', '~']).next().unwrap_or(version)
}

/// `26.1` of `26.1.5`: live restore holds across patch releases only.
fn release(version: &str) -> &str {
    let mut dots = version.match_indices('.');
    dots.nth(1).map_or(version, |(second, _)| &version[..second])
}

/// The unit whose daemon a package holds; none for clients and helpers.
pub(crate) fn daemon_of(package: &str) -> Option<&'static str> {
    match package {
        "containerd" | "containerd.io" => Some(CONTAINERD),
        "docker" | "docker-ce" | "docker.io" | "docker-engine" | "moby-engine" => Some(DOCKER),
        _ => None,
    }
}

/// Installed version of a unit's daemon.
pub(crate) fn installed<'a>(packages: &'a BTreeMap<String, PackageStatus>, unit: &str) -> Option<&'a str> {
    let daemon = |name: &String| daemon_of(name) == Some(unit);
    let (_, status) = packages.iter().find(|(name, _)| daemon(name))?;
    status.version.as_deref()
}

/// Whether Docker's containers stop: its daemon restarts, and they do not outlive that.
pub(crate) fn containers_stop(info: &Info, restarts: bool, target: Option<&str>) -> bool {
    let running = upstream(&info.version);
    let same_release = target.is_none_or(|target| release(upstream(target)) == release(running));
    restarts && !(info.live_restore && same_release)
}

/// What decides whether a unit has to be restarted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staleness<'a> {
    pub(crate) status: &'a UnitStatus,
    /// Version of what runs, when it says it.
    pub(crate) running: Option<&'a str>,
    /// Version of what is installed.
    pub(crate) installed: Option<&'a str>,
    /// When its configuration was last changed.
    pub(crate) configured: Option<&'a str>,
    /// An interrupted operation owes it a restart since then.
    pub(crate) owed: Option<&'a str>,
}

/// What has to happen to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    Start,
    Restart,
}

/// Decides it from what is seen, so that an operation begun again after a stop comes to the same end. A unit that is
/// neither enabled nor owed a start is left as the host's administrator left it.
pub(crate) fn need(seen: Staleness<'_>) -> Need {
    if !units::exists(seen.status) {
        return Need::Nothing;
    }
    if !units::is_active(seen.status) {
        let wanted = seen.status.file_state.starts_with("enabled") || seen.owed.is_some();
        return if wanted { Need::Start } else { Need::Nothing };
    }
    let other_version = match (seen.running, seen.installed) {
        (Some(running), Some(installed)) => upstream(running) != upstream(installed),
        _ => false,
    };
    let since = seen.status.since.as_deref().unwrap_or_default();
    // The host says since when in whole seconds: an edit within the second of the start is taken as read.
    let second = |moment: &str| moment.get(..19).unwrap_or(moment).to_owned();
    let edited = seen.configured.is_some_and(|moment| second(moment) > second(since));
    let owed = seen.owed.is_some_and(|moment| moment > since);
    if other_version || edited || owed { Need::Restart } else { Need::Nothing }
}
