//! Failures from what an API server answers, or does not.

use super::api::Silence;
use super::request::Answer;
use crate::backend::failure;
use crate::contract::{Failure, FailureKind, InDoubt, RetryAdvice, Stop};

/// Why an item of a write was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// An answer.
    Failed(Failure),
    /// It was begun, and nobody knows how it ended.
    InDoubt(String),
    /// The run was asked to stop.
    Cancelled,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Trouble {
    /// What no answer to a write means.
    pub(super) fn of_write(silence: Silence, cluster: &str) -> Self {
        match silence {
            Silence::Lost(why) => Self::InDoubt(why),
            other => Self::Failed(of_silence(&other, cluster)),
        }
    }

    /// The failure.
    ///
    /// # Errors
    /// When it is none, but a stop.
    pub(super) fn settle(self, item: usize) -> Result<Failure, Stop> {
        match self {
            Self::Failed(failure) => Ok(failure),
            Self::InDoubt(message) => Err(InDoubt { item, message }.into()),
            Self::Cancelled => Err(Stop::Cancelled),
        }
    }
}

/// The failure of a read, or of a write that was not begun.
pub(super) fn of_silence(silence: &Silence, cluster: &str) -> Failure {
    match silence {
        Silence::NotBegun(why) | Silence::Lost(why) => failure::unreachable(cluster, why),
        Silence::Setup(why) => failure::other("credentials", cluster, why),
    }
}

/// Why credentials do not do.
pub(super) fn not_accepted(cluster: &str, answer: &Answer) -> String {
    let said = answer.message();
    match answer.status {
        401 => format!(
            "the API server of {cluster} does not accept the credentials of its kubeconfig ({said}): renew them, or name \
             another kubeconfig in the inventory"
        ),
        _ => format!("the API server of {cluster} forbids it to the user of its kubeconfig: {said}"),
    }
}

/// The failure that an answer is.
pub(super) fn of_answer(answer: &Answer, title: &str, cluster: &str) -> Failure {
    let said = answer.message();
    let message = || format!("{title}: {said}");
    match answer.status {
        401 => failure::other("credentials", cluster, not_accepted(cluster, answer)),
        403 => failure::other("forbidden", title, format!("{title}: {}", not_accepted(cluster, answer))),
        404 => failure::not_found(title, format!("{title} is not in {cluster}: {said}")),
        405 => failure::unsupported(title, message()),
        409 => of_conflict(answer, title),
        410 => failure::conflict(title, message(), Vec::new(), None),
        413 => failure::too_large(title, message()),
        400 | 415 | 422 => failure::invalid(title, message()),
        429 | 503 | 504 => {
            let kind = FailureKind::Unreachable;
            Failure { kind, retry: RetryAdvice::Later, subject: title.to_owned(), message: message() }
        }
        status => failure::failed(title, message(), Some(i32::from(status)), &said),
    }
}

/// A conflict: fields of other managers are named each, anything else as the server says it.
fn of_conflict(answer: &Answer, title: &str) -> Failure {
    let managers = answer.causes().filter(|(reason, ..)| *reason == "FieldManagerConflict");
    let named: Vec<String> = managers.map(|(_, message, field)| format!("{}: {field}", manager(message))).collect();
    if named.is_empty() {
        return failure::conflict(title, format!("{title}: {}", answer.message()), vec![title.to_owned()], None);
    }
    failure::conflict(
        title,
        format!("apply of {title} conflicts with fields of other managers: {}", named.join(", ")),
        named,
        None,
    )
}

/// The manager in `conflict with "kubectl" using apps/v1 at …` (k8s.io/apimachinery, managedfields/internal).
fn manager(message: &str) -> &str {
    message.split('"').nth(1).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::backend::live::kubernetes::request::Standing;

    /// An answer as kube-apiserver 1.34 gave it.
    fn answer(status: u16, reason: &str, message: &str, details: &Value) -> Answer {
        let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                          "message": message, "reason": reason, "details": details, "code": status});
        Answer { status, retry_after: None, body }
    }

    fn kind(answer: &Answer) -> FailureKind {
        of_answer(answer, "ConfigMap default/c", "main").kind
    }

    #[test]
    fn every_manager_in_the_way_is_named_with_its_field() {
        let conflict = answer(
            409,
            "Conflict",
            "Apply failed with 2 conflicts: conflicts with \"helm\":\n- .data.c\nconflicts with \"kubectl\":\n- .data.a",
            &json!({"causes": [
                {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using apps/v1", "field": ".data.a"},
                {"reason": "FieldManagerConflict", "message": "conflict with \"helm\"", "field": ".data.c"},
            ]}),
        );
        let FailureKind::Conflict(found) = kind(&conflict) else { panic!("a conflict") };
        assert_eq!(found.blockers, ["kubectl: .data.a", "helm: .data.c"]);
        let modified =
            answer(409, "Conflict", "the object has been modified", &json!({"name": "c", "kind": "configmaps"}));
        let FailureKind::Conflict(found) = kind(&modified) else { panic!("a conflict") };
        assert_eq!(found.blockers, ["ConfigMap default/c"]);
    }

    #[test]
    fn statuses_have_the_kind_that_helps() {
        let of = |status| kind(&answer(status, "", "", &json!({})));
        assert_eq!(of(404), FailureKind::NotFound);
        assert_eq!(of(405), FailureKind::Unsupported);
        assert_eq!(of(413), FailureKind::TooLarge);
        for status in [400, 415, 422] {
            assert_eq!(of(status), FailureKind::Invalid);
        }
        assert_eq!(of(503), FailureKind::Unreachable);
        assert!(matches!(of(500), FailureKind::Failed(exit) if exit.code == Some(500)));
        let page = Answer { status: 404, retry_after: None, body: Value::from("404 page not found\n") };
        assert_eq!(page.message(), "404 page not found");
    }

    #[test]
    fn only_what_was_not_taken_up_or_is_unclear_is_no_answer() {
        let budget = json!({"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 1 healthy pods and has 1 currently"}]});
        let busy = |details| answer(429, "TooManyRequests", "", &details);
        assert_eq!(busy(budget).standing(), Standing::Final);
        assert_eq!(busy(json!({"retryAfterSeconds": 1})).standing(), Standing::NotTaken(None));
        let failed = |message| answer(500, "InternalError", message, &json!({})).standing();
        assert_eq!(failed("etcdserver: request timed out"), Standing::Unclear);
        assert_eq!(failed("failed calling webhook \"x\": no endpoints"), Standing::Final);
        assert_eq!(answer(504, "Timeout", "", &json!({})).standing(), Standing::Unclear);
        assert_eq!(answer(409, "Conflict", "", &json!({})).standing(), Standing::Final);
    }
}
