//! Scripts on hosts: the one way in which the capabilities of a real host reach it.
//!
//! A capability writes a text for a POSIX shell, gives everything that varies as arguments (`$1`, `$2`, …) or on standard
//! input, and reads what comes back. What carries the script there, SSH or a process on this machine, is a [`Shell`].

use std::pin::Pin;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::backend::budget::Budget;
use crate::backend::failure;
use crate::contract::{Class, Failure, InDoubt};

/// As whom a script runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RunAs {
    /// As the user that the inventory gives for effects (`become`), usually root.
    #[default]
    Effects,
    /// As the user who logged in.
    Login,
    /// As this user.
    User(String),
}

/// A text for `/bin/sh`, and what it is given.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The text. Nothing that varies is put into it.
    pub text: String,
    /// `$1`, `$2`, …: any bytes but NUL. Together with the text at most [`MOST_ARGUMENTS`].
    pub arguments: Vec<String>,
    /// As whom it runs.
    pub user: RunAs,
}

/// Bytes that text and arguments of one script may have: what Linux allows for one argument of a process (128 KiB,
/// `MAX_ARG_STRLEN` in execve(2)), less what quoting may add.
pub const MOST_ARGUMENTS: usize = 48 << 10;

impl Script {
    /// A script without arguments.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// With one more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn arguments<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// As another user than the one for effects.
    #[must_use]
    pub fn run_as(mut self, user: RunAs) -> Self {
        self.user = user;
        self
    }
}

/// A script that runs.
pub struct Running {
    /// Its standard input; dropped: its end.
    pub stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// Its standard output.
    pub stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// Its standard error.
    pub stderr: Pin<Box<dyn AsyncRead + Send>>,
    /// Its end. `Err`: it cannot be known, with the reason.
    pub ended: BoxFuture<'static, Result<Ended, String>>,
}

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Exit status, when there was one.
    pub code: Option<i32>,
    /// Signal that ended it, when one did.
    pub signal: Option<i32>,
}

/// Why a script has no end that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShellError {
    /// The host does not answer: nothing was begun.
    #[error("{0}")]
    Unreachable(String),
    /// The host answers, and effects do not gain the rights that they need (sudo): nothing was begun.
    #[error("{0}")]
    NoRights(String),
    /// The script cannot be sent as it is: nothing was begun.
    #[error("{0}")]
    Invalid(String),
    /// The connection broke, or the host went away, after the script was begun.
    #[error("{0}")]
    Lost(String),
    /// The time given was over before it ended; it may still run.
    #[error("it did not end within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
}

impl ShellError {
    /// The same, told otherwise.
    #[must_use]
    pub(super) fn told(self, tell: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Unreachable(why) => Self::Unreachable(tell(why)),
            Self::NoRights(why) => Self::NoRights(tell(why)),
            Self::Invalid(why) => Self::Invalid(tell(why)),
            Self::Lost(why) => Self::Lost(tell(why)),
            Self::TimedOut(time) => Self::TimedOut(time),
        }
    }

    /// What became of an effect of this class: a failure, or doubt.
    ///
    /// # Errors
    /// When a write was begun and nobody knows how it ended. `item` is its index in its call.
    pub fn settle(self, class: Class, item: usize, subject: &str) -> Result<Failure, InDoubt> {
        let message = self.to_string();
        match self {
            Self::Unreachable(_) => Ok(failure::unreachable(subject, message)),
            Self::NoRights(_) => Ok(failure::no_rights(subject, message)),
            Self::Invalid(_) => Ok(failure::invalid(subject, message)),
            Self::Lost(_) | Self::TimedOut(_) if class.is_write() => Err(InDoubt { item, message }),
            Self::Lost(_) => Ok(failure::unreachable(subject, message)),
            Self::TimedOut(_) => Ok(failure::timed_out(subject, message)),
        }
    }

    /// The failure of a read.
    #[must_use]
    pub fn of_read(self, subject: &str) -> Failure {
        let message = self.to_string();
        self.settle(Class::Read, 0, subject).unwrap_or_else(|_| failure::unreachable(subject, message))
    }
}

/// What a script said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub ended: Ended,
    /// Beginning of its standard output.
    pub stdout: Captured,
    /// End of its standard error.
    pub stderr: Captured,
}

/// What was kept of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The bytes kept.
    pub data: Vec<u8>,
    /// How many were left out.
    pub dropped: u64,
}

impl Captured {
    /// As text.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.data)
    }
}

/// What may be kept and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of standard output.
    pub stdout: usize,
    /// Bytes of standard error.
    pub stderr: usize,
    /// Time.
    pub time: Option<Duration>,
}

impl Default for Bounds {
    /// 8 MiB of output, 8 KiB of errors, two minutes: enough for whatever a typed capability asks.
    fn default() -> Self {
        Self { stdout: 8 << 20, stderr: 8 << 10, time: Some(Duration::from_secs(120)) }
    }
}

/// Carries scripts to one host.
#[async_trait::async_trait]
pub trait Shell: Send + Sync {
    /// Begins a script. What the login prints by itself stands on neither of its outputs.
    ///
    /// # Errors
    /// When it was not begun.
    async fn start(&self, script: Script) -> Result<Running, ShellError>;
}

impl dyn Shell + '_ {
    /// Runs a script to its end.
    ///
    /// # Errors
    /// When its end is not known.
    pub async fn run(&self, script: Script, stdin: Vec<u8>, bounds: Bounds) -> Result<Finished, ShellError> {
        self.run_within(script, stdin, bounds, &Budget::default()).await
    }

    /// Runs a script to its end, and keeps of its standard output only what the budget has left.
    ///
    /// # Errors
    /// When its end is not known.
    pub(crate) async fn run_within(
        &self,
        script: Script,
        stdin: Vec<u8>,
        bounds: Bounds,
        budget: &Budget,
    ) -> Result<Finished, ShellError> {
        self.listen(script, stdin, bounds, budget).await.map_err(|(error, _)| error)
    }

    /// Runs a script to its end, and keeps of its standard output only what the budget has left.
    ///
    /// # Errors
    /// When its end is not known; with what it had said on standard output by then.
    pub(super) async fn listen(
        &self,
        script: Script,
        stdin: Vec<u8>,
        bounds: Bounds,
        budget: &Budget,
    ) -> Result<Finished, (ShellError, Captured)> {
        let mut said = Captured::default();
        let running = async {
            let Running { stdin: mut input, stdout, stderr, ended } = self.start(script).await?;
            let feed = async move {
                // One that ends without reading all of its input closes it: its end tells whether that was well.
                let _ = input.write_all(&stdin).await;
                let _ = input.shutdown().await;
            };
            let standard_output = beginning(stdout, bounds.stdout, budget, &mut said);
            let (stdout, stderr, (), ended) = tokio::join!(standard_output, end(stderr, bounds.stderr), feed, ended);
            let ended = ended.map_err(ShellError::Lost)?;
            let lost = |error: std::io::Error| ShellError::Lost(error.to_string());
            stdout.map_err(lost)?;
            Ok((ended, stderr.map_err(lost)?))
        };
        let ended = match bounds.time {
            None => running.await,
            Some(time) => tokio::time::timeout(time, running).await.unwrap_or(Err(ShellError::TimedOut(time))),
        };
        match ended {
            Ok((ended, stderr)) => Ok(Finished { ended, stdout: said, stderr }),
            Err(error) => Err((error, said)),
        }
    }
}

/// Reads a stream to its end and keeps its beginning.
async fn beginning(
    mut stream: Pin<Box<dyn AsyncRead + Send>>,
    most: usize,
    budget: &Budget,
    kept: &mut Captured,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let room = budget.take(most.saturating_sub(kept.data.len()).min(read));
        kept.data.extend_from_slice(&buffer[..room]);
        kept.dropped += (read - room) as u64;
    }
}

/// Reads a stream to its end and keeps its end.
pub(super) async fn end(mut stream: Pin<Box<dyn AsyncRead + Send>>, most: usize) -> std::io::Result<Captured> {
    let mut kept = Captured::default();
    let mut buffer = vec![0; 8 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(kept);
        }
        kept.data.extend_from_slice(&buffer[..read]);
        let over = kept.data.len().saturating_sub(most);
        kept.data.drain(..over);
        kept.dropped += over as u64;
    }
}

/// The command that runs a script, each argument quoted, as a POSIX shell reads it.
#[must_use]
pub fn command_line(words: &[&str]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// One argument as a POSIX shell reads it (POSIX.1-2024, XCU 2.2.2: single quotes keep every byte but themselves). zsh
/// expands a word that begins with `=`, so that one is quoted, too.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,@+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
