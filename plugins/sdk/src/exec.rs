//! Commands on hosts.

use crate::api::exec::{Captured, CommandOptions, Forecast, Output};
use crate::api::{exec, types::Part};
use crate::{Answers, EffectClass, Failure, FailureKind, Label, problems::failure};

/// A command in the making: reads unless said otherwise, one minute, nothing forecast.
#[derive(Debug, Clone)]
pub struct Command(exec::Command);

impl Command {
    /// A command that changes nothing.
    pub fn read<S: Into<String>>(host: &str, argv: impl IntoIterator<Item = S>) -> Self {
        Self::new(host, argv, EffectClass::Read)
    }

    /// A command that leads to the same state however often it runs.
    pub fn write<S: Into<String>>(host: &str, argv: impl IntoIterator<Item = S>) -> Self {
        Self::new(host, argv, EffectClass::WriteIdempotent)
    }

    /// A command that must not run twice under the same key.
    pub fn once<S: Into<String>>(host: &str, key: &str, argv: impl IntoIterator<Item = S>) -> Self {
        let mut command = Self::new(host, argv, EffectClass::WriteOnce);
        command.0.key = key.to_owned();
        command
    }

    fn new<S: Into<String>>(host: &str, argv: impl IntoIterator<Item = S>, effect: EffectClass) -> Self {
        Self(exec::Command {
            host: host.to_owned(),
            argv: argv.into_iter().map(Into::into).collect(),
            effect,
            key: String::new(),
            stdin: Vec::new(),
            time_out: 60_000,
            forecast: None,
            options: None,
        })
    }

    /// How long it may run, in seconds.
    pub fn seconds(mut self, seconds: u32) -> Self {
        self.0.time_out = seconds.saturating_mul(1000);
        self
    }

    /// Text on its standard input.
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.0.stdin.push(Part::Text(text.into()));
        self
    }

    /// Subjects its answer depends on: `unit:NAME`, `file:PATH`, `package:NAME`, `host`, or a word of the plugin's.
    pub fn reads<S: Into<String>>(mut self, subjects: impl IntoIterator<Item = S>) -> Self {
        self.forecast().reads = subjects.into_iter().map(Into::into).collect();
        self
    }

    /// Subjects it changes.
    pub fn writes<S: Into<String>>(mut self, subjects: impl IntoIterator<Item = S>) -> Self {
        self.forecast().writes = subjects.into_iter().map(Into::into).collect();
        self
    }

    /// What it will say, with success.
    pub fn answers(mut self, stdout: impl Into<String>) -> Self {
        self.forecast().output = Some(Output {
            code: 0,
            stdout: Captured { data: stdout.into().into_bytes(), dropped: 0 },
            stderr: Captured { data: Vec::new(), dropped: 0 },
            unseen: false,
        });
        self
    }

    /// Adds a variable to its clean environment; its request names it in `environment`.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.options().environment.push(Label { name: name.to_owned(), value: value.into() });
        self
    }

    /// Directory it runs in; its request names it in `directories`.
    pub fn directory(mut self, path: &str) -> Self {
        self.options().directory = Some(path.to_owned());
        self
    }

    /// Exit codes that count as success beside 0.
    pub fn accept(mut self, codes: impl IntoIterator<Item = i32>) -> Self {
        self.options().accept.extend(codes);
        self
    }

    /// Bytes kept of each output, at most 1 MiB.
    pub fn output_limit(mut self, bytes: u32) -> Self {
        self.options().output_limit = bytes;
        self
    }

    /// Data may be lost by it.
    pub fn destructive(mut self) -> Self {
        self.options().destructive = true;
        self
    }

    /// Marks what it reads and says for hosts that encrypt. This host keeps it readable in the journal.
    pub fn sensitive(mut self) -> Self {
        self.options().sensitive = true;
        self
    }

    /// The order for `exec.run`.
    pub fn order(self) -> exec::Command {
        self.0
    }

    /// Runs it and gives its standard output.
    pub fn text(self) -> Result<String, Failure> {
        let output = self.run()?;
        stdout(&output)
    }

    /// Runs it.
    pub fn run(self) -> Result<Output, Failure> {
        exec::run(&[self.0]).one()
    }

    fn forecast(&mut self) -> &mut Forecast {
        self.0.forecast.get_or_insert_with(|| Forecast { reads: Vec::new(), writes: Vec::new(), output: None })
    }

    fn options(&mut self) -> &mut CommandOptions {
        self.0.options.get_or_insert_with(|| CommandOptions {
            environment: Vec::new(),
            directory: None,
            user: None,
            accept: Vec::new(),
            output_limit: 0,
            destructive: false,
            sensitive: false,
        })
    }
}

/// Runs commands in one call.
pub fn run(commands: impl IntoIterator<Item = Command>) -> Vec<Result<Output, Failure>> {
    let commands: Vec<exec::Command> = commands.into_iter().map(Command::order).collect();
    if commands.is_empty() { Vec::new() } else { exec::run(&commands) }
}

/// Standard output as text. What was cut off is a failure: half an answer must not be taken for a whole one.
pub fn stdout(output: &Output) -> Result<String, Failure> {
    if output.stdout.dropped > 0 {
        return Err(failure(
            FailureKind::TooLarge,
            "stdout",
            format!("{} bytes of output were left out", output.stdout.dropped),
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout.data).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_what_was_asked() {
        let order = Command::write("h", ["ip", "route"]).seconds(5).accept([2]).writes(["routes"]).answers("x").order();
        assert_eq!(order.effect, EffectClass::WriteIdempotent);
        assert_eq!(order.time_out, 5_000);
        assert_eq!(order.options.map(|options| options.accept), Some(vec![2]));
        assert!(order.forecast.is_some_and(|forecast| forecast.output.is_some() && forecast.reads.is_empty()));
    }

    #[test]
    fn a_cut_output_is_no_answer() {
        let mut output = Output {
            code: 0,
            stdout: Captured { data: b"abc".to_vec(), dropped: 0 },
            stderr: Captured { data: vec![], dropped: 0 },
            unseen: false,
        };
        assert_eq!(stdout(&output).ok().as_deref(), Some("abc"));
        output.stdout.dropped = 1;
        assert!(stdout(&output).is_err());
    }
}
