//! Backout: the objects and the data of the backup set in place of those that are there.

use runner_plugin_sdk::api::artifacts::{self as api, RestoreOrder};
use runner_plugin_sdk::api::files::Precondition;
use runner_plugin_sdk::api::log;
use runner_plugin_sdk::api::operator::{self, Confirmation, Question};
use runner_plugin_sdk::api::progress;
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::{
    Answers, Backup, Findings, Inputs, Invocation, Problem, Report, ReportBuilder, declined, parse, refused,
};
use serde_json::Value;

use crate::backup::{Notes, OBJECTS, REST, block_name};
use crate::found::{Found, check_layout};
use crate::parameters::{Backout, Place};
use crate::prometheus::same_version;
use crate::stage::Stage;
use crate::update::expect;
use crate::volume::{self, Missing, missing};

/// The component, as the operator knows it.
const COMPONENT: &str = "metrics";
/// Prompt that confirms the loss of samples.
const PROMPT: &str = "discard-samples";

/// The file at the top of the volume that fix F1013-2021-001 asks to be deleted.
const LOCK: &str = "lock";

/// What the backup set holds, read whole before anything is changed.
struct Set<'a> {
    backup: Backup<'a>,
    notes: Notes,
    version: &'a str,
    /// The objects, the workload last.
    objects: Vec<Value>,
}

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backout = parse(invocation)?;
    let place = parameters.place();
    let set = Set::read(invocation, place)?;
    let found = Found::read(invocation, place)?;
    let workload = found.installed()?;
    let mut report = ReportBuilder::new();
    let mut findings = Findings::new();
    check_layout(place, workload, &mut findings);
    let available = found.images(invocation, &set.notes.images)?;
    findings.extend(available.nowhere);
    findings.extend(found.foreign_pods()?);
    findings.refuse()?;
    report.warnings(available.partly);

    let id = set.backup.0.id.as_str();
    let stage = Stage::of(workload, id);
    let there = found.version().is_some_and(|version| same_version(version, set.version));
    // The same version reads the same data: nothing of it needs to be given up.
    if stage > Stage::Begun || !there {
        if stage == Stage::Begun {
            volume::expect_database(place)?;
        }
        set.declare_loss(&parameters, stage)?;
        set.bring_data_back(&parameters, &found, workload, stage, &mut report)?;
    }

    let surplus = found.objects.surplus(&set.objects);
    report.changed(found.bring(&set.objects, &parameters.take_over, &surplus)?);
    found.settle()?;
    expect(place, set.version)?;
    report.output("removed", surplus.names()).cluster_version(found.cluster.0, "prometheus", set.version);
    Ok(report.finish(format!("Prometheus {} runs again, with the data of backup set {id}", set.version)))
}

impl<'a> Set<'a> {
    fn read(invocation: &'a Invocation, place: Place<'_>) -> Result<Self, Problem> {
        let backup = invocation.backup_set()?;
        let id = backup.0.id.as_str();
        let incomplete = |what: &str| refused("incomplete-backup", id, format!("backup set {id} holds no {what}"));
        let version = backup.version("prometheus").ok_or_else(|| incomplete("version of Prometheus"))?;
        let notes: Notes = backup.notes()?;
        let Value::Array(objects) = backup.json(OBJECTS)? else {
            return Err(incomplete("list of objects"));
        };
        let objects = workload_last(objects, place).ok_or_else(|| incomplete("StatefulSet of that name"))?;
        for block in &notes.saved.blocks {
            backup.artifact(&block_name(block))?;
        }
        if !notes.saved.rest.is_empty() {
            backup.artifact(REST)?;
        }
        if notes.data_directory != place.data_directory {
            let message = format!(
                "backup set {id} has the database in {:?} of the volume, the parameters have it in {:?}",
                notes.data_directory, place.data_directory
            );
            return Err(refused("other-layout", id, message));
        }
        Ok(Self { backup, notes, version, objects })
    }

    /// Says what is lost, and asks for consent while it is not lost yet.
    fn declare_loss(&self, parameters: &Backout, stage: Stage) -> Result<(), Problem> {
        if stage >= Stage::Emptied {
            return Ok(());
        }
        let lost = format!(
            "samples that Prometheus {}/{} took since backup set {} of {}",
            parameters.namespace, parameters.name, self.backup.0.id, self.backup.0.created
        );
        let loss = format!("Backing metrics out gives up all {lost}.");
        log::write(log::Level::Warn, &loss, &[]);
        if !parameters.confirm_lost_samples {
            return Ok(());
        }
        let confirmation = Confirmation {
            question: Question {
                key: PROMPT.to_owned(),
                message: format!("{loss} Go on?"),
                why: format!(
                    "The older Prometheus may not read what the newer one wrote, so its database is replaced by that of \
                     the backup set, in {} on host {}. No: nothing is changed.",
                    parameters.volume_path, parameters.volume_host
                ),
                fact: false,
            },
            default: false,
            destroys: lost,
        };
        if operator::confirm(&confirmation)? {
            return Ok(());
        }
        Err(declined("giving up the samples taken since the backup was declined"))
    }

    fn bring_data_back(
        &self,
        parameters: &Backout,
        found: &Found<'_>,
        workload: &Value,
        stage: Stage,
        report: &mut ReportBuilder,
    ) -> Result<(), Problem> {
        let place = found.place;
        let id = self.backup.0.id.as_str();
        report.warn("samples-lost", COMPONENT, self.lost(place));
        if stage == Stage::Restored {
            return Ok(());
        }
        progress::show("Prometheus stops", None, None);
        found.stop(workload, Some(id))?;
        if stage < Stage::Emptied {
            if parameters.fix_f1013_2021_001 {
                report.changed(volume::remove(place, LOCK, false)?);
            }
            volume::empty(place, COMPONENT, parameters.delete_pv_data)?;
            found.note(Stage::Emptied, id)?;
        }
        let missing = match self.missing(place)? {
            Some(missing) => missing,
            // Somebody put something there since it was seen empty.
            None => {
                volume::empty(place, COMPONENT, parameters.delete_pv_data)?;
                self.missing(place)?.ok_or_else(|| changed_again(place))?
            }
        };
        self.restore(place, &missing, report)?;
        found.note(Stage::Restored, id)?;
        Ok(())
    }

    fn lost(&self, place: Place<'_>) -> String {
        let from = if self.notes.volume_host == place.volume_host && self.notes.volume_path == place.volume_path {
            String::new()
        } else {
            format!("; it was taken from {} on host {}", self.notes.volume_path, self.notes.volume_host)
        };
        format!(
            "samples taken since backup set {} of {} are lost: its data is in {} on host {}{from}",
            self.backup.0.id, self.backup.0.created, place.volume_path, place.volume_host
        )
    }

    fn missing(&self, place: Place<'_>) -> Result<Option<Missing>, Problem> {
        let top = volume::top(place)?;
        let database = volume::in_database(place, &top)?;
        Ok(missing(place, &self.notes.saved, &top, &database))
    }

    /// What is not a block first: it goes into the empty volume; each block then into its own directory.
    fn restore(&self, place: Place<'_>, missing: &Missing, report: &mut ReportBuilder) -> Result<(), Problem> {
        progress::show("restoring the database", None, None);
        if missing.rest {
            let rest = self.order(place, REST, String::new(), Precondition::Anything)?;
            report.changed(api::restore(&[rest]).one()?.changed);
        }
        let order =
            |block: &String| self.order(place, &block_name(block), place.in_database(block), Precondition::Absent);
        let blocks = missing.blocks.iter().map(order).collect::<Result<Vec<_>, _>>()?;
        if blocks.is_empty() {
            return Ok(());
        }
        for change in api::restore(&blocks).all()? {
            report.changed(change.changed);
        }
        Ok(())
    }

    fn order(
        &self,
        place: Place<'_>,
        name: &str,
        path: String,
        precondition: Precondition,
    ) -> Result<RestoreOrder, Problem> {
        Ok(RestoreOrder {
            digest: self.backup.artifact(name)?.digest.clone(),
            host: place.volume_host.to_owned(),
            path: place.within(&path),
            precondition,
            attributes: None,
        })
    }
}

fn changed_again(place: Place<'_>) -> Problem {
    let message =
        format!("something writes into {} on host {} while it should be empty", place.volume_path, place.volume_host);
    refused("volume-in-use", place.volume_path, message)
}

/// Objects in the order in which they are applied; none: the workload is not among them.
fn workload_last(mut objects: Vec<Value>, place: Place<'_>) -> Option<Vec<Value>> {
    let at = objects.iter().position(|object| {
        object.text("/kind") == Some("StatefulSet") && object.text("/metadata/name") == Some(place.name)
    })?;
    let workload = objects.remove(at);
    objects.push(workload);
    Some(objects)
}
