//! `exec`: grants name argv templates and effect classes.

use super::{Capable, Subject};
use crate::contract::Class;
use crate::contract::exec::Command;

impl Capable for Command {
    fn subject(&self) -> Result<Subject<'_>, String> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err("a command without a program".to_owned());
        }
        if self.argv.iter().any(|argument| argument.contains('\0')) {
            return Err("an argument cannot contain NUL".to_owned());
        }
        Ok(Subject::Command { argv: &self.argv, class: Class::from(self.effect) })
    }
    fn label(&self) -> String {
        self.argv.join(" ")
    }
    fn destroys(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.destructive)
    }
}
