//! Stopping and starting Prometheus, and how far a backout has come. Both are noted on the StatefulSet itself, so that
//! an operation begun again after a stop, even by another run, goes on from there.

use runner_plugin_sdk::api::kubernetes::ObjectRef;
use runner_plugin_sdk::json::{At, segment};
use runner_plugin_sdk::rollout::Workload;
use runner_plugin_sdk::{Failure, FailureKind, Problem};
use serde_json::{Value, json};

use crate::found::{Found, claim_is_free, mounts, stateful_set};

/// Annotation that holds the replicas to come back to.
const REPLICAS: &str = "runner/replicas";
/// Annotation that says how far a backout has come, and to which backup set.
const BACKOUT: &str = "runner/backout";

/// How far a backout has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing was done yet.
    Begun,
    /// Prometheus is stopped for it.
    Stopped,
    /// The volume was seen empty: the samples since the backup are gone.
    Emptied,
    /// The backup set's data is in the volume.
    Restored,
}

impl Stage {
    const NOTED: [Stage; 3] = [Stage::Stopped, Stage::Emptied, Stage::Restored];

    fn word(self) -> &'static str {
        match self {
            Stage::Begun => "begun",
            Stage::Stopped => "stopped",
            Stage::Emptied => "emptied",
            Stage::Restored => "restored",
        }
    }

    /// How far the backout to that set has come. A backout to another set says nothing about this one's data.
    pub(crate) fn of(workload: &Value, set: &str) -> Stage {
        let Some((word, noted)) = noted(workload).and_then(|note| note.split_once(' ')) else {
            return Stage::Begun;
        };
        let stage = Stage::NOTED.into_iter().find(|stage| stage.word() == word);
        match stage {
            Some(stage) if noted == set => stage,
            Some(_) | None => Stage::Begun,
        }
    }
}

fn noted(workload: &Value) -> Option<&str> {
    workload.text(&pointer(BACKOUT))
}

fn pointer(annotation: &str) -> String {
    format!("/metadata/annotations/{}", segment(annotation))
}

/// Whether a backout was begun and not ended.
pub(crate) fn backout_under_way(workload: &Value) -> Option<&str> {
    noted(workload)
}

/// Whether an operation left notes.
pub(crate) fn has_notes(workload: &Value) -> bool {
    [REPLICAS, BACKOUT].iter().any(|annotation| workload.text(&pointer(annotation)).is_some())
}

/// Replicas that the StatefulSet has, or had before it was stopped.
pub(crate) fn replicas(workload: &Value) -> i64 {
    match workload.number("/spec/replicas") {
        Some(0) => {
            let noted = workload.text(&pointer(REPLICAS));
            noted.and_then(|text| text.parse().ok()).unwrap_or(0)
        }
        Some(replicas) => replicas,
        None => 1,
    }
}

/// A workload without the notes of an operation under way.
pub(crate) fn without_notes(mut workload: Value) -> Value {
    let wanted = replicas(&workload);
    workload.cut(&pointer(REPLICAS));
    workload.cut(&pointer(BACKOUT));
    workload.put("/spec/replicas", json!(wanted));
    workload
}

impl Found<'_> {
    fn at(&self) -> ObjectRef {
        stateful_set(self.cluster, self.place)
    }

    /// Notes how far a backout has come.
    pub(crate) fn note(&self, stage: Stage, set: &str) -> Result<(), Failure> {
        let note = format!("{} {set}", stage.word());
        let patch = json!({"metadata": {"annotations": {BACKOUT: note}}});
        self.cluster.patch(self.at(), &patch, None)?;
        Ok(())
    }

    /// Stops Prometheus and waits until no Pod mounts the claim. For a backout, the stop and its note are one write.
    pub(crate) fn stop(&self, workload: &Value, backout: Option<&str>) -> Result<(), Problem> {
        let stopped = workload.number("/spec/replicas") == Some(0) && workload.text(&pointer(REPLICAS)).is_some();
        if !stopped {
            let patch = stopping(replicas(workload), backout);
            self.cluster.patch(self.at(), &patch, None)?;
        }
        let selection = self.cluster.select("v1", "Pod", Some(self.place.namespace), "");
        let condition = claim_is_free(self.place.claim);
        let forecast = json!({"status": {"phase": "Succeeded"}});
        let seconds = self.place.rollout_seconds;
        match self.cluster.wait_all(selection, &condition, seconds, Some(forecast)) {
            Ok(_) => Ok(()),
            Err(failure) if failure.kind == FailureKind::TimedOut => Err(self.still_mounted(failure).into()),
            Err(failure) => Err(failure.into()),
        }
    }

    fn still_mounted(&self, mut failure: Failure) -> Failure {
        let selection = self.cluster.select("v1", "Pod", Some(self.place.namespace), "");
        if let Ok(pods) = self.cluster.list(selection, &["/spec/volumes", "/status/phase"]) {
            let mounting = pods.iter().filter(|pod| mounts(&pod.body, self.place.claim));
            let names: Vec<&str> = mounting.map(|pod| pod.id.name.as_str()).collect();
            failure.message =
                format!("claim {} is still mounted by {}; {}", self.place.claim, names.join(", "), failure.message);
        }
        failure
    }

    /// Has Prometheus begin again with its replicas, where it was stopped for a backup.
    pub(crate) fn begin_again(&self, workload: &Value) -> Result<(), Failure> {
        let patch = json!({"metadata": {"annotations": {REPLICAS: null}}, "spec": {"replicas": replicas(workload)}});
        self.cluster.patch(self.at(), &patch, None)?;
        Ok(())
    }

    /// Follows the rollout to its end.
    pub(crate) fn follow(&self) -> Result<(), Failure> {
        let place = self.place;
        let workload = Workload::StatefulSet;
        self.cluster.rollout(workload, place.namespace, place.name, place.rollout_seconds)?;
        Ok(())
    }

    /// Takes the notes away: nothing is under way any more.
    pub(crate) fn settle(&self) -> Result<(), Failure> {
        let patch = json!({"metadata": {"annotations": {REPLICAS: null, BACKOUT: null}}});
        self.cluster.patch(self.at(), &patch, None)?;
        Ok(())
    }
}

fn stopping(replicas: i64, backout: Option<&str>) -> Value {
    let mut annotations = json!({REPLICAS: replicas.to_string()});
    if let Some(set) = backout {
        annotations[BACKOUT] = json!(format!("{} {set}", Stage::Stopped.word()));
    }
    json!({"metadata": {"annotations": annotations}, "spec": {"replicas": 0}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::found::tests::workload;

    #[test]
    fn a_stop_remembers_what_to_come_back_to() {
        let mut workload = workload();
        workload.put("/spec/replicas", json!(1));
        assert_eq!(replicas(&workload), 1);
        for (pointer, value) in [
            ("/metadata/annotations", stopping(1, Some("set-1"))["metadata"]["annotations"].clone()),
            ("/spec/replicas", json!(0)),
        ] {
            workload.put(pointer, value);
        }
        assert_eq!(replicas(&workload), 1);
        assert_eq!(Stage::of(&workload, "set-1"), Stage::Stopped);
        let clean = without_notes(workload);
        assert_eq!(clean.number("/spec/replicas"), Some(1));
        assert_eq!(clean.pointer("/metadata/annotations"), Some(&json!({})));
    }

    #[test]
    fn a_backout_goes_on_only_to_the_set_it_was_begun_with() {
        let mut workload = workload();
        assert_eq!(Stage::of(&workload, "set-1"), Stage::Begun);
        for stage in Stage::NOTED {
            workload.put(&pointer(BACKOUT), json!(format!("{} set-1", stage.word())));
            assert_eq!(Stage::of(&workload, "set-1"), stage);
            assert_eq!(Stage::of(&workload, "set-2"), Stage::Begun);
            assert!(backout_under_way(&workload).is_some());
        }
        assert!(Stage::Begun < Stage::Stopped && Stage::Stopped < Stage::Emptied && Stage::Emptied < Stage::Restored);
    }

    #[test]
    fn a_stop_for_a_backup_is_no_backout() {
        let patch = stopping(2, None);
        assert_eq!(patch, json!({"metadata": {"annotations": {"runner/replicas": "2"}}, "spec": {"replicas": 0}}));
    }
}
