//! Backout: the objects and files of the backup set in place of those that are there.

use runner_plugin_sdk::kubernetes::describe;
use runner_plugin_sdk::objects::Release;
use runner_plugin_sdk::rollout::Workload;
use runner_plugin_sdk::{Findings, Inputs, Invocation, Problem, Report, ReportBuilder, files, parse, refused};
use serde_json::Value;

use crate::backup::{FILES, HostFiles, Notes, OBJECTS};
use crate::found::{DAEMON_SET, Found};
use crate::parameters::Backout;
use crate::update::wanted_file;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backout = parse(invocation)?;
    let set = invocation.backup_set()?;
    let unreadable =
        |what: &str| refused("unreadable-backup", set.0.id.as_str(), format!("{what} of the set cannot be read"));
    let version = set.version("flannel").ok_or_else(|| unreadable("the version"))?;
    let notes: Notes = set.notes()?;
    let objects: Vec<Value> = serde_json::from_value(set.json(OBJECTS)?).map_err(|_| unreadable(OBJECTS))?;
    let saved: HostFiles = serde_json::from_value(set.json(FILES)?).map_err(|_| unreadable(FILES))?;
    if !objects.iter().any(|object| describe(object) == format!("DaemonSet {}/{DAEMON_SET}", parameters.namespace)) {
        let message = format!("the set holds no DaemonSet {}/{DAEMON_SET}", parameters.namespace);
        return Err(refused("incomplete-backup", set.0.id.as_str(), message));
    }

    let found = Found::read(invocation, &parameters.namespace)?;
    let mut findings = Findings::new();
    findings.extend(found.strangers());
    findings.extend(found.missing_images(&notes.images)?);
    findings.refuse()?;

    let mut report = ReportBuilder::new();
    let files = wanted_files(&found.hosts(), &saved, &mut report);
    let target = Release {
        objects: &objects,
        take_over: &parameters.take_over,
        workload: (Workload::DaemonSet, &parameters.namespace, DAEMON_SET),
        seconds: parameters.rollout_seconds,
    };
    let surplus = found.objects.surplus(&objects);
    report
        .changed(files::ensure(&files)?.contains(&true))
        .changed(target.bring(found.cluster, &surplus)?)
        .output("removed", surplus.names());
    report.cluster_version(invocation.cluster()?, "flannel", version);
    Ok(report.finish(format!("flannel {version} runs on {} nodes again", found.nodes.len())))
}

/// The saved files of hosts that are nodes now. A node that came since the backup gets what its Pod writes.
fn wanted_files(hosts: &[String], saved: &HostFiles, report: &mut ReportBuilder) -> Vec<files::Wanted> {
    let mut wanted = Vec::new();
    for host in hosts {
        match saved.get(host) {
            Some(saved) => {
                let texts = saved.iter().filter_map(|(path, text)| Some((path, text.as_ref()?)));
                wanted.extend(texts.map(|(path, text)| wanted_file(host, path, text)));
            }
            None => {
                let message = format!("host {host} was no node when the backup was made; its Pod writes its files");
                report.warn("new-node", host.as_str(), message);
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_were_there_come_back() {
        let saved: HostFiles =
            serde_json::from_str(r#"{"a": {"/f": "text", "/g": null}, "gone": {"/f": "x"}}"#).unwrap();
        let mut report = ReportBuilder::new();
        let files = wanted_files(&["a".into(), "new".into()], &saved, &mut report);
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].at.host.as_str(), files[0].at.path.as_str()), ("a", "/f"));
        assert_eq!(report.finish("").warnings[0].subject, "new");
    }
}
