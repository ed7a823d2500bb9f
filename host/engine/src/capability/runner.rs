//! `operator`, `log`, `progress`, `clock`, `random`: they have no place and need no grant; a prompt must be one that the
//! manifest lists.

use runner_types::PromptKind;

use super::{Capable, Subject};
use crate::contract::clock::{ElapsedQuestion, NowQuestion, SleepQuestion};
use crate::contract::log::WriteQuestion;
use crate::contract::operator::{Choice, Confirmation, Question};
use crate::contract::progress::ShowQuestion;
use crate::contract::random::BytesQuestion;

impl Question {
    fn asked<'a>(&'a self, kind: PromptKind, options: &'a [String]) -> Subject<'a> {
        Subject::Prompt { key: &self.key, kind, options }
    }
}

impl Capable for Question {
    fn subject(&self) -> Result<Subject<'_>, String> {
        Ok(self.asked(PromptKind::Pause, &[]))
    }
    fn label(&self) -> String {
        self.key.clone()
    }
}

impl Capable for Confirmation {
    fn subject(&self) -> Result<Subject<'_>, String> {
        Ok(self.question.asked(PromptKind::Confirm, &[]))
    }
    fn label(&self) -> String {
        self.question.label()
    }
    fn destroys(&self) -> bool {
        !self.destroys.is_empty()
    }
}

impl Capable for Choice {
    fn subject(&self) -> Result<Subject<'_>, String> {
        let count = self.options.len();
        let inside = |index: u32| (index as usize) < count;
        if !inside(self.planned) || self.default.is_some_and(|default| !inside(default)) {
            return Err(format!("an index is beyond the {count} options"));
        }
        Ok(self.question.asked(PromptKind::Choose, &self.options))
    }
    fn label(&self) -> String {
        self.question.label()
    }
}

macro_rules! free {
    ($($item:ty => $label:literal),* $(,)?) => {$(
        impl Capable for $item {
            fn subject(&self) -> Result<Subject<'_>, String> {
                Ok(Subject::Free)
            }
            fn label(&self) -> String {
                $label.to_owned()
            }
        }
    )*};
}

free!(
    NowQuestion => "clock",
    ElapsedQuestion => "clock",
    SleepQuestion => "clock",
    WriteQuestion => "log",
    ShowQuestion => "progress",
    BytesQuestion => "random",
);
