//! One process of the binary.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Time after which a process hangs: far more than any of the tests needs on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// Root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The binary under test.
///
/// # Errors
/// When it is not built.
pub(crate) fn binary() -> Result<PathBuf> {
    let path = env::var_os("RUNNER_TEST_BINARY").map_or_else(|| target().join("debug/runner"), PathBuf::from);
    ensure!(path.is_file(), "{} is not there; `cargo xtask build` makes it", path.display());
    Ok(path)
}

/// Directory of the packed plugins.
#[must_use]
pub fn plugins() -> PathBuf {
    target().join("plugins")
}

/// Directory of the guests.
///
/// # Errors
/// When they are not built.
pub fn guests() -> Result<PathBuf> {
    let path = env::var_os("RUNNER_TEST_GUESTS").map_or_else(|| target().join("guests"), PathBuf::from);
    ensure!(path.is_dir(), "{} is not there; `cargo xtask build --guests` makes it", path.display());
    Ok(path)
}

/// A call of the binary in the making. It begins in the root of the checkout, with nothing of this process's
/// environment but what programs need to run.
pub struct Invocation {
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    directory: PathBuf,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none: a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error, or what the terminal showed.
    pub stderr: String,
}

impl Ended {
    /// The same, after checking the exit code.
    ///
    /// # Errors
    /// When it is another; with everything that the process said.
    pub fn with(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "exit code {:?} instead of {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// The same, after checking that each of the texts was said on standard error or output.
    ///
    /// # Errors
    /// When one was not said.
    pub fn says(self, texts: &[&str]) -> Result<Self> {
        for text in texts {
            ensure!(
                self.stderr.contains(text) || self.stdout.contains(text),
                "nothing says {text:?}\n--- stdout\n{}\n--- stderr\n{}",
                self.stdout,
                self.stderr
            );
        }
        Ok(self)
    }
}

impl Invocation {
    /// A call with these arguments.
    pub fn new<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            stdin: Vec::new(),
            directory: root(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives a standard input.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// Begins in that directory.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// The program and its arguments.
    pub(crate) fn words(&self) -> Result<Vec<OsString>> {
        let program = binary()?.into_os_string();
        Ok(std::iter::once(program).chain(self.arguments.iter().cloned()).collect())
    }

    /// A command of these words with the call's surroundings.
    pub(crate) fn command(&self, words: &[OsString]) -> Result<Command> {
        let (program, arguments) = words.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.directory).env_clear();
        for name in ["PATH", "HOME", "LANG", "TMPDIR"] {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
        // Compiled plugins are shared by all tests; whether that cache is sound is a test of its own.
        command.env("RUNNER_CACHE_DIR", target().join("test-cache"));
        command.env("RUNNER_PLUGINS", plugins());
        command.env("TERM", "dumb").env("COLUMNS", "200");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs it to its end, without a terminal.
    ///
    /// # Errors
    /// When it cannot be run, does not end, or says something that is no text.
    pub fn run(self) -> Result<Ended> {
        let mut child = self
            .command(&self.words()?)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start runner")?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        let text = self.stdin;
        let writer = thread::spawn(move || {
            // A process that does not read its input may close it.
            let _ = stdin.write_all(&text);
        });
        let stdout = reader(child.stdout.take().context("no standard output")?);
        let stderr = reader(child.stderr.take().context("no standard error")?);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                anyhow::bail!("{:?} did not end within {PATIENCE:?}", self.arguments);
            }
            thread::sleep(Duration::from_millis(5));
        };
        let text = |bytes: thread::JoinHandle<Vec<u8>>| {
            let bytes = bytes.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?;
            String::from_utf8(bytes).context("the output is no text")
        };
        let ended = Ended { code: status.code(), stdout: text(stdout)?, stderr: text(stderr)? };
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
        Ok(ended)
    }
}

fn reader(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before a broken pipe counts.
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}
