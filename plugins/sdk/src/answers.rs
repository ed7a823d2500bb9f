//! Lists of answers, as every effect gives them.

use crate::problems::failure;
use crate::{Failure, FailureKind};

/// What to make of the answers of one call.
pub trait Answers<T> {
    /// All of them, or the failure that says most: an item that was left out because of another one never hides it.
    fn all(self) -> Result<Vec<T>, Failure>;
    /// The answer of a call with one item.
    fn one(self) -> Result<T, Failure>;
    /// The answers as they are, to judge each alone; a denial is a failure of the whole, since only a grant mends it.
    fn unless_denied(self) -> Result<Vec<Result<T, Failure>>, Failure>;
    /// What was answered, and the failures apart.
    fn split(self) -> (Vec<T>, Vec<Failure>);
}

impl<T> Answers<T> for Vec<Result<T, Failure>> {
    fn all(self) -> Result<Vec<T>, Failure> {
        let (done, failures) = self.split();
        match most_telling(failures) {
            Some(failure) => Err(failure),
            None => Ok(done),
        }
    }

    fn one(self) -> Result<T, Failure> {
        let mut answers = self.into_iter();
        match (answers.next(), answers.next()) {
            (Some(answer), None) => answer,
            _ => Err(failure(
                FailureKind::Other("answer-count".into()),
                "",
                "a call with one item was not answered by one answer",
            )),
        }
    }

    fn unless_denied(self) -> Result<Vec<Result<T, Failure>>, Failure> {
        let mut answers = Vec::with_capacity(self.len());
        for answer in self {
            match answer {
                Err(failure) if matches!(failure.kind, FailureKind::Denied(_)) => {
                    return Err(failure);
                }
                other => answers.push(other),
            }
        }
        Ok(answers)
    }

    fn split(self) -> (Vec<T>, Vec<Failure>) {
        let mut done = Vec::with_capacity(self.len());
        let mut failures = Vec::new();
        for answer in self {
            match answer {
                Ok(value) => done.push(value),
                Err(failure) => failures.push(failure),
            }
        }
        (done, failures)
    }
}

fn most_telling(failures: Vec<Failure>) -> Option<Failure> {
    let telling = failures.iter().position(|failure| failure.kind != FailureKind::NotAttempted);
    failures.into_iter().nth(telling.unwrap_or(0))
}

/// "Not there" as an answer in place of a failure.
pub trait Presence<T> {
    /// `None` where the thing named does not exist.
    fn present(self) -> Result<Option<T>, Failure>;
}

impl<T> Presence<T> for Result<T, Failure> {
    fn present(self) -> Result<Option<T>, Failure> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Denial;

    fn failed(kind: FailureKind) -> Result<u8, Failure> {
        Err(failure(kind, "x", "y"))
    }

    #[test]
    fn an_item_left_out_does_not_hide_the_cause() {
        let answers = vec![failed(FailureKind::NotAttempted), Ok(1), failed(FailureKind::Unreachable)];
        assert_eq!(answers.all().map_err(|failure| failure.kind), Err(FailureKind::Unreachable));
        assert_eq!(vec![Ok(1), Ok(2)].all().ok(), Some(vec![1, 2]));
    }

    #[test]
    fn a_denial_fails_the_whole_and_nothing_else_does() {
        let denial = Denial { capability: "files.read".into(), grant: "{}".into(), requested: true };
        let mixed = vec![Ok(1), failed(FailureKind::Unreachable)];
        assert_eq!(mixed.unless_denied().map(|all| all.len()).ok(), Some(2));
        let denied = vec![Ok(1), failed(FailureKind::Denied(denial))];
        assert!(denied.unless_denied().is_err());
    }

    #[test]
    fn one_answer_is_wanted_for_one_item() {
        assert_eq!(vec![Ok(7)].one().ok(), Some(7));
        assert!(Vec::<Result<u8, Failure>>::new().one().is_err());
        assert!(vec![Ok(1), Ok(2)].one().is_err());
    }

    #[test]
    fn only_not_found_is_absence() {
        assert_eq!(failed(FailureKind::NotFound).present().ok(), Some(None));
        assert!(failed(FailureKind::TimedOut).present().is_err());
    }
}
