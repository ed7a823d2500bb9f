//! `exec`: grants name argv templates, the variables, user and directory that a command names, and effect classes.

use runner_types::decides_code;

use super::{Capable, Subject, absolute, plain};
use crate::contract::Class;
use crate::contract::exec::Command;
use crate::contract::types::Label;

impl Capable for Command {
    fn subject(&self) -> Result<Subject<'_>, String> {
        let program = self.argv.first().map_or("", String::as_str);
        if program.is_empty() {
            return Err("a command without a program".to_owned());
        }
        if program.contains('/') && !program.starts_with('/') {
            let message = "is found from the directory it runs in; write its absolute path, or its name alone";
            return Err(format!("program {program:?} {message}"));
        }
        if self.argv.iter().any(|argument| argument.contains('\0')) {
            return Err("an argument cannot contain NUL".to_owned());
        }
        let options = self.options.as_ref();
        let directory = options.and_then(|options| options.directory.as_deref()).filter(|path| *path != "/");
        let environment = options.iter().flat_map(|options| &options.environment);
        Ok(Subject::Command {
            argv: &self.argv,
            environment: environment.map(variable).collect::<Result<_, _>>()?,
            user: options.and_then(|o| o.user.as_deref()).map(|user| plain("a user", user)).transpose()?,
            directory: directory.map(absolute).transpose()?,
            class: Class::from(self.effect),
        })
    }
    fn label(&self) -> String {
        self.argv.join(" ")
    }
    fn destroys(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.destructive)
    }
}

/// Name of a variable that a command may be given.
fn variable(label: &Label) -> Result<&str, String> {
    let name = label.name.as_str();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits) {
        return Err(format!("{name:?} is no name of an environment variable"));
    }
    if decides_code(name) {
        return Err(format!("{name} decides which code any command runs and is never given to one"));
    }
    if label.value.contains('\0') {
        return Err(format!("the value of {name} contains NUL"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::exec::CommandOptions;
    use crate::contract::types::EffectClass;

    /// What a command of that argv with these options is judged by.
    fn judged(argv: &[&str], options: CommandOptions) -> Result<(), String> {
        let command = Command {
            host: "h".to_owned(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            effect: EffectClass::Read,
            key: String::new(),
            stdin: Vec::new(),
            time_out: 1,
            forecast: None,
            options: Some(options),
        };
        command.subject().map(|_| ())
    }

    fn options() -> CommandOptions {
        CommandOptions {
            environment: Vec::new(),
            directory: None,
            user: None,
            accept: Vec::new(),
            output_limit: 0,
            destructive: false,
            sensitive: false,
        }
    }

    #[test]
    fn a_program_is_found_by_its_name_or_its_absolute_path() {
        for program in ["etcdctl", "/usr/bin/etcdctl"] {
            assert!(judged(&[program], options()).is_ok(), "{program}");
        }
        for program in ["", "./etcdctl", "bin/etcdctl", "../etcdctl"] {
            assert!(judged(&[program], options()).is_err(), "{program}");
        }
    }

    #[test]
    fn no_variable_that_loads_code_and_no_odd_name_is_accepted() {
        let with = |name: &str, value: &str| {
            let label = Label { name: name.to_owned(), value: value.to_owned() };
            judged(&["true"], CommandOptions { environment: vec![label], ..options() })
        };
        for name in ["ETCDCTL_CACERT", "_x", "LC_ALL", "BASH_ENV", "PYTHONPATH"] {
            assert!(with(name, "a=b c").is_ok(), "{name}");
        }
        for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GCONV_PATH", "PATH"] {
            assert!(with(name, "").is_err_and(|reason| reason.contains("which code")), "{name}");
        }
        for name in ["", "A=B", "1A", "-i", "A B", "A\0", "BASH_FUNC_timeout%%"] {
            assert!(with(name, "").is_err_and(|reason| reason.contains("no name")), "{name}");
        }
        assert!(with("A", "\0").is_err());
    }

    #[test]
    fn users_and_directories_are_plain() {
        for user in ["", "-i", "a b", "a/b"] {
            assert!(judged(&["true"], CommandOptions { user: Some(user.to_owned()), ..options() }).is_err(), "{user}");
        }
        assert!(judged(&["true"], CommandOptions { directory: Some("/".to_owned()), ..options() }).is_ok());
        for path in ["", "tmp", "/a/../b", "/a\0"] {
            let options = CommandOptions { directory: Some(path.to_owned()), ..options() };
            assert!(judged(&["true"], options).is_err(), "{path}");
        }
    }
}
