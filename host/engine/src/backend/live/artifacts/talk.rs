//! A script that is spoken with while it runs: it says records, and data between them.

use std::pin::Pin;

use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, BufReader};
use tokio::task::JoinHandle;

use crate::backend::failure;
use crate::backend::live::records::Record;
use crate::backend::live::shell::{self, Captured, Ended, Finished, Script, Shell, ShellError};
use crate::contract::Failure;

/// Bytes that a field may have.
const MOST_FIELD: u64 = 64 << 10;
/// Fields that a record may have.
const MOST_FIELDS: usize = 16;
/// Bytes of standard error that are kept.
const ERRORS: usize = 8 << 10;

/// A script that runs.
pub(super) struct Talk {
    /// Its standard input; taken away: its end.
    pub(super) stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Its standard output.
    pub(super) stdout: BufReader<Pin<Box<dyn AsyncRead + Send>>>,
    stderr: JoinHandle<std::io::Result<Captured>>,
    ended: BoxFuture<'static, Result<Ended, String>>,
}

impl Talk {
    /// Begins a script.
    ///
    /// # Errors
    /// When it was not begun.
    pub(super) async fn begin(shell: &dyn Shell, script: Script) -> Result<Self, ShellError> {
        let running = shell.start(script).await?;
        Ok(Self {
            stdin: Some(running.stdin),
            stdout: BufReader::new(running.stdout),
            stderr: tokio::spawn(shell::end(running.stderr, ERRORS)),
            ended: running.ended,
        })
    }

    /// The next record; none: the script says no more, or no record.
    pub(super) async fn next(&mut self) -> Option<Record> {
        let kind = self.field().await?;
        let count: usize = std::str::from_utf8(&self.field().await?).ok()?.parse().ok()?;
        let mut fields = Vec::new();
        for _ in 0..Some(count).filter(|count| *count <= MOST_FIELDS)? {
            fields.push(self.field().await?);
        }
        Some(Record::new(&kind, fields))
    }

    async fn field(&mut self) -> Option<Vec<u8>> {
        let mut field = Vec::new();
        (&mut self.stdout).take(MOST_FIELD).read_until(0, &mut field).await.ok()?;
        (field.pop() == Some(0)).then_some(field)
    }

    /// Lets the script come to its end.
    ///
    /// # Errors
    /// When its end is not known.
    pub(super) async fn end(self) -> Result<Finished, ShellError> {
        let Self { stdin, mut stdout, stderr, ended } = self;
        drop(stdin);
        // What it still says is not wanted; read, so that it does not wait for a reader.
        let _ = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
        let ended = ended.await.map_err(ShellError::Lost)?;
        let stderr = stderr.await.map_err(|error| ShellError::Lost(error.to_string()))?;
        let stderr = stderr.map_err(|error| ShellError::Lost(error.to_string()))?;
        Ok(Finished { ended, stdout: Captured::default(), stderr })
    }
}

/// What became of a script that should have said more.
pub(super) fn fell_silent(finished: &Finished, subject: &str) -> Failure {
    let said = finished.stderr.text();
    let how = match (finished.ended.signal, finished.ended.code) {
        (Some(signal), _) => format!("by signal {signal}"),
        (None, code) => format!("with status {}", code.unwrap_or_default()),
    };
    let message = format!("the script on the host ended early {how}: {}", last_line(&said));
    failure::failed(subject, message, finished.ended.code, &said)
}

/// The last line that says something; that tar gives up after an error says nothing.
pub(super) fn last_line(text: &str) -> &str {
    let says = |line: &&str| !line.trim().is_empty() && !line.starts_with("tar: Exiting with failure status");
    text.lines().rev().find(says).unwrap_or("it said nothing")
}
