//! Docker's containers, and those of Pods.

use std::collections::BTreeMap;

use runner_plugin_sdk::{Command, Failure, FailureKind, Finding, exec, failure, finding};
use serde::{Deserialize, Serialize};

/// What is asked of each container, as one line of JSON.
const FORMAT: &str = concat!(
    r#"{"id":{{json .Id}},"name":{{json .Name}},"image":{{json .Config.Image}},"running":{{json .State.Running}},"#,
    r#""removed":{{json .HostConfig.AutoRemove}},"restarts":{{json .HostConfig.RestartPolicy.Name}},"#,
    r#""pod":{{json (index .Config.Labels "io.kubernetes.pod.name")}}}"#
);

/// A container of Docker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) id: String,
    name: String,
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) running: bool,
    /// Removed by Docker when it stops.
    #[serde(default)]
    pub(crate) removed: bool,
    /// When Docker itself starts it again.
    #[serde(default)]
    restarts: Option<String>,
    /// Pod it belongs to, on platforms where Kubernetes runs Pods by Docker.
    #[serde(default)]
    pod: Option<String>,
}

impl Container {
    /// Its name without the slash that Docker puts before it.
    pub(crate) fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// Whether Kubernetes looks after it.
    pub(crate) fn of_kubernetes(&self) -> bool {
        self.pod.as_deref().is_some_and(|pod| !pod.is_empty())
    }

    /// Name, image and what becomes of it, for people.
    pub(crate) fn describe(&self) -> String {
        let fate = match (self.removed, self.restarts.as_deref()) {
            (true, _) => "; Docker removes it when it stops",
            (false, Some("always" | "unless-stopped")) => "",
            (false, _) => "; Docker itself would not start it again",
        };
        format!("{} ({}{fate})", self.name(), self.image)
    }
}

/// Reads what the command about containers printed.
pub(crate) fn parse(text: &str) -> Result<Vec<Container>, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).map_err(|error| format!("a container is described by no JSON: {error}")))
        .collect()
}

/// Which of Docker's containers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Running,
    All,
}

/// Containers of a host whose Docker runs.
pub(crate) fn list(host: &str, which: Which) -> Result<Vec<Container>, Failure> {
    let mut argv = vec!["docker", "ps", "--quiet", "--no-trunc"];
    if which == Which::All {
        argv.push("--all");
    }
    let ids =
        Command::read(host, argv).reads(["docker:containers", "unit:docker.service"]).output_limit(1 << 20).text()?;
    look(host, ids.lines().map(str::trim).filter(|id| !id.is_empty()))
}

/// Containers by id; one that is gone is left out.
pub(crate) fn look<'a>(host: &str, ids: impl Iterator<Item = &'a str>) -> Result<Vec<Container>, Failure> {
    let ids: Vec<&str> = ids.collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let argv = ["docker", "container", "inspect", "--format", FORMAT].into_iter();
    let output = Command::read(host, argv.chain(ids))
        .reads(["docker:containers", "unit:docker.service"])
        .accept([1])
        .output_limit(1 << 20)
        .run()?;
    let said = String::from_utf8_lossy(&output.stderr.data).into_owned();
    let gone = said.contains("No such container") || said.contains("no such container");
    let containers = parse(&exec::stdout(&output)?);
    let unexpected = |why: String| failure(FailureKind::Other("unexpected-answer".into()), host, why);
    match containers {
        Ok(_) if output.code != 0 && !gone => Err(unexpected(format!("docker container inspect: {}", said.trim()))),
        Ok(containers) => Ok(containers),
        Err(why) => Err(unexpected(why)),
    }
}

/// Starts containers that are there and do not run, and reports those that then do not run.
pub(crate) fn start_again(host: &str, wanted: &[Container]) -> Result<Vec<Finding>, Failure> {
    let found = look(host, wanted.iter().map(|container| container.id.as_str()))?;
    let stopped: Vec<&str> =
        found.iter().filter(|container| !container.running).map(|container| container.id.as_str()).collect();
    let found = if stopped.is_empty() {
        found
    } else {
        let argv = ["docker", "start"].into_iter().chain(stopped);
        // One that cannot start makes the command fail after it started the others.
        Command::write(host, argv).accept([1]).seconds(300).writes(["docker:containers"]).answers("").run()?;
        look(host, wanted.iter().map(|container| container.id.as_str()))?
    };
    Ok(not_running(host, wanted, &found))
}

/// A finding for each wanted container that does not run.
pub(crate) fn not_running(host: &str, wanted: &[Container], found: &[Container]) -> Vec<Finding> {
    let found: BTreeMap<&str, &Container> = found.iter().map(|container| (container.id.as_str(), container)).collect();
    wanted
        .iter()
        .filter_map(|container| {
            let why = match found.get(container.id.as_str()) {
                Some(now) if now.running => return None,
                Some(_) => "it does not run",
                None if container.removed => "Docker removed it when it stopped, as it was told to",
                None => "it is gone",
            };
            let (name, image) = (container.name(), &container.image);
            let message =
                format!("container {name} ({image}) ran on host {host} before Docker was restarted; now {why}");
            Some(finding("container-not-running", format!("{host}/{name}"), message))
        })
        .collect()
}

/// Containers of Pods that run under containerd, with the process of each.
pub(crate) fn pod_tasks(host: &str) -> Result<BTreeMap<String, String>, Failure> {
    let text = Command::read(host, ["ctr", "--namespace", "k8s.io", "tasks", "list"])
        .reads(["unit:containerd.service", "unit:kubelet.service"])
        .output_limit(1 << 20)
        .text()?;
    Ok(parse_tasks(&text))
}

/// Reads the table of tasks: name, process, state.
pub(crate) fn parse_tasks(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            let (name, process, state) = (columns.next()?, columns.next()?, columns.next()?);
            (state == "RUNNING").then(|| (name.to_owned(), process.to_owned()))
        })
        .collect()
}

/// How many containers of Pods did not outlive a restart of containerd.
pub(crate) fn ended(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> usize {
    before.iter().filter(|(name, process)| after.get(*name) != Some(process)).count()
}
