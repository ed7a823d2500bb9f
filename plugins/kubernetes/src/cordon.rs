//! Whose cordon it is: a mark on the Node says which run set it and how the Node was before, so that only our own cordon
//! is ever undone, by whichever run comes to it.

use sdk::json::At;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Annotation of a Node that is worked on, and a label with the same name, by which such Nodes are found.
pub(crate) const MARK: &str = "runner/maintenance";
/// Value of the label.
const ENTERED: &str = "entered";
/// The same as a JSON pointer.
pub(crate) const MARKED: &str = "/metadata/annotations/runner~1maintenance";
/// Workloads remembered in the mark; an annotation has little room.
const REMEMBERED: usize = 100;

/// What the annotation holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Mark {
    pub(crate) run: String,
    pub(crate) step: String,
    pub(crate) unschedulable_before: bool,
    /// Workloads that had too few ready Pods already before.
    #[serde(default)]
    pub(crate) not_ready_before: Vec<String>,
}

impl Mark {
    /// The mark on a Node.
    pub(crate) fn on(node: &Value) -> Option<Self> {
        serde_json::from_str(node.text(MARKED)?).ok()
    }

    /// The mark that a Node gets from this run. One that is there already, of this run or of one that was lost, knows
    /// better how the Node was before.
    pub(crate) fn entering(node: &Value, run: &str, step: &str, not_ready: Vec<String>) -> Self {
        let (unschedulable_before, mut not_ready_before) = match Self::on(node) {
            Some(mark) => (mark.unschedulable_before, mark.not_ready_before),
            None => (node.is_true("/spec/unschedulable"), not_ready),
        };
        not_ready_before.truncate(REMEMBERED);
        Self { run: run.to_owned(), step: step.to_owned(), unschedulable_before, not_ready_before }
    }

    /// Whether the Node is as entering leaves it.
    pub(crate) fn is_set(&self, node: &Value) -> bool {
        Self::on(node).as_ref() == Some(self)
            && node.text("/metadata/labels/runner~1maintenance").is_some()
            && node.is_true("/spec/unschedulable")
    }

    /// The patch that cordons and marks in one.
    pub(crate) fn patch(&self) -> Value {
        let text = serde_json::to_string(self).unwrap_or_default();
        json!({
            "metadata": {"annotations": {MARK: text}, "labels": {MARK: ENTERED}},
            "spec": {"unschedulable": true},
        })
    }

    /// The patch that brings the Node back to how it was.
    pub(crate) fn undoing(&self) -> Value {
        let unschedulable = if self.unschedulable_before { json!(true) } else { Value::Null };
        json!({
            "metadata": {"annotations": {MARK: null}, "labels": {MARK: null}},
            "spec": {"unschedulable": unschedulable},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(mut node: Value, patch: &Value) -> Value {
        fn merge(target: &mut Value, patch: &Value) {
            let Some(fields) = patch.as_object() else {
                *target = patch.clone();
                return;
            };
            if !target.is_object() {
                *target = json!({});
            }
            for (name, value) in fields {
                if value.is_null() {
                    target.cut(&format!("/{}", sdk::json::segment(name)));
                } else if let Some(object) = target.as_object_mut() {
                    merge(object.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        merge(&mut node, patch);
        node
    }

    #[test]
    fn our_cordon_is_undone() {
        let before = json!({"metadata": {"annotations": {"a": "b"}, "labels": {"c": "d"}}, "spec": {}});
        let mark = Mark::entering(&before, "r1", "nodes", vec!["Deployment shop/x".into()]);
        assert!(!mark.is_set(&before));
        let during = patched(before.clone(), &mark.patch());
        assert!(mark.is_set(&during));
        assert_eq!(Mark::on(&during), Some(mark.clone()));
        assert_eq!(patched(during, &mark.undoing()), before);
    }

    #[test]
    fn an_operators_cordon_stays() {
        let before = json!({"metadata": {"annotations": {}}, "spec": {"unschedulable": true}});
        let mark = Mark::entering(&before, "r1", "nodes", vec![]);
        assert!(mark.unschedulable_before);
        let during = patched(before, &mark.patch());
        assert!(patched(during, &mark.undoing()).is_true("/spec/unschedulable"));
    }

    #[test]
    fn a_lost_run_is_followed() {
        let before = json!({"metadata": {}, "spec": {}});
        let lost = Mark::entering(&before, "r1", "nodes", vec!["x".into()]);
        let during = patched(before, &lost.patch());
        let ours = Mark::entering(&during, "r2", "nodes", vec!["x".into(), "drained by r1".into()]);
        assert!(!ours.unschedulable_before);
        assert_eq!(ours.not_ready_before, ["x"]);
        assert!(!ours.is_set(&during));
        assert_eq!(Mark::on(&patched(during, &ours.patch())).map(|mark| mark.run), Some("r2".into()));
    }

    #[test]
    fn what_is_no_mark_is_none() {
        let marked = |text: &str| json!({"metadata": {"annotations": {MARK: text}}});
        assert_eq!(Mark::on(&marked("")), None);
        assert_eq!(Mark::on(&marked("{}")), None);
        assert_eq!(Mark::on(&json!({})), None);
    }
}
