//! Scripts on hosts that are reached by SSH.
//!
//! One connection a host, opened when it is first needed and shared by all who need it; whoever comes while it is being
//! opened waits for it. One that was lost is opened again by the next call: what was under way on it has no known end.

mod begun;
mod master;
mod route;
mod trouble;
mod trust;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use runner_types::{Become, ResolvedHost};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use tokio::sync::{Mutex, Semaphore, mpsc};

use begun::Begun;
use master::{Master, NotOpened};
pub use route::{Hop, Route};
pub use trust::{HostKey, Trust, known_hosts};

use super::rights;
use super::secrets::Secrets;
use super::shell::{Ended, Running, Script, Shell, ShellError, command_line};

/// Scripts that run on one host at the same time: sshd allows ten sessions a connection unless it is told otherwise
/// (`MaxSessions`), and the connection itself is one.
const SESSIONS: usize = 8;
/// How long the reason stands why a connection was not opened: long enough for all who asked at the same time.
const REMEMBERED: Duration = Duration::from_secs(2);
/// Pause before another try where a server had too many connections at once.
const AGAIN: Duration = Duration::from_millis(700);
/// How often, and after which pause, a session is asked for anew that the server refused.
const REFUSED: (u32, Duration) = (20, Duration::from_millis(100));
/// Bytes of one argument of a process on Linux (`MAX_ARG_STRLEN`, execve(2)): the user's shell there gets one.
const LONGEST_COMMAND: usize = (128 << 10) - 1;
/// Bytes of standard error that wait to be read without holding up the end of a script.
const UNREAD: usize = 64 << 10;

/// A host reached by SSH.
pub struct SshShell {
    route: Route,
    rights: Become,
    secrets: Arc<Secrets>,
    sessions: Arc<Semaphore>,
    state: Mutex<State>,
}

enum State {
    Closed,
    Open(Arc<Master>),
    Failed { since: Instant, why: ShellError },
}

impl SshShell {
    /// A host of an inventory in `folder`. Nothing is connected yet.
    #[must_use]
    pub fn new(host: &ResolvedHost, folder: &Path, secrets: Arc<Secrets>) -> Self {
        Self {
            route: Route::new(host, folder),
            rights: host.r#become.clone(),
            secrets,
            sessions: Arc::new(Semaphore::new(SESSIONS)),
            state: Mutex::new(State::Closed),
        }
    }

    /// The way to it.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Opens the connection unless it is open. Answers what the login printed by itself, which is no part of what
    /// scripts say.
    ///
    /// # Errors
    /// When the host is not reached, or effects would not gain the rights they need.
    pub async fn open(&self) -> Result<String, ShellError> {
        Ok(self.secrets.mask(self.master().await?.noise.clone()))
    }

    async fn master(&self) -> Result<Arc<Master>, ShellError> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Open(master) if master.is_alive().await => return Ok(Arc::clone(master)),
            // A wrong password given again and again locks an account.
            State::Failed { why: why @ ShellError::NoRights(_), .. } if self.rights.password.is_some() => {
                return Err(why.clone());
            }
            State::Failed { since, why } if since.elapsed() < REMEMBERED => return Err(why.clone()),
            State::Open(_) | State::Failed { .. } | State::Closed => {}
        }
        // Whoever comes now waits for the lock, and so for this connection.
        match self.connect().await {
            Ok(master) => {
                let master = Arc::new(master);
                *state = State::Open(Arc::clone(&master));
                Ok(master)
            }
            Err(why) => {
                *state = State::Failed { since: Instant::now(), why: why.clone() };
                Err(why)
            }
        }
    }

    async fn connect(&self) -> Result<Master, ShellError> {
        let open = || Master::open(&self.route, &self.rights, &self.secrets);
        match open().await {
            Err(NotOpened { is_fleeting: true, .. }) => {
                tokio::time::sleep(AGAIN).await;
                open().await
            }
            opened => opened,
        }
        // sudo, or what stands there in its place, may say the password that it was given.
        .map_err(|failed| failed.why.told(|why| self.secrets.mask(why)))
    }
}

#[async_trait::async_trait]
impl Shell for SshShell {
    async fn start(&self, mut script: Script) -> Result<Running, ShellError> {
        let mark = begun::marked(&mut script);
        let rights::Command { words, before_input } = rights::command(script, &self.rights, &self.secrets).await?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let line = format!("exec {}", command_line(&words));
        if line.len() > LONGEST_COMMAND {
            return Err(ShellError::Invalid(format!("a command of {} bytes is too long to be sent", line.len())));
        }
        let gone = |_| ShellError::Unreachable(format!("{} is being left", self.route.name));
        let permit = Arc::clone(&self.sessions).acquire_owned().await.map_err(gone)?;
        let (mut tries, pause) = REFUSED;
        let (master, mut child) = loop {
            let master = self.master().await?;
            let error = match master.begin(&line).await {
                Ok(child) => break (master, child),
                Err(error) => error,
            };
            if !master.is_alive().await {
                // Nobody knows how far the request came.
                return Err(ShellError::Lost(self.secrets.mask(master.reason(&self.route.title()).await)));
            }
            tries -= 1;
            if tries == 0 {
                let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                let message = format!("{} refuses another session: {reason}", self.route.title());
                return Err(ShellError::Unreachable(self.secrets.mask(message)));
            }
            tokio::time::sleep(pause).await;
        };
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin().take(), child.stdout().take(), child.stderr().take())
        else {
            return Err(ShellError::Lost("ssh gave no streams".to_owned()));
        };
        if !before_input.is_empty() {
            // One that ends without reading it says why at its standard error.
            let _ = stdin.write_all(&before_input).await;
        }
        let (reading, mut all_read) = mpsc::channel::<()>(1);
        let stdout = UntilEnd { stream: stdout, reading: Some(reading.clone()) };
        let stdout = Begun::output(stdout, &mark);
        let (mut pipe, stderr_read) = tokio::io::duplex(UNREAD);
        let stderr = UntilEnd { stream: stderr, reading: Some(reading) };
        let mut stderr = Begun::errors(stderr, &mark, UNREAD);
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut stderr, &mut pipe).await;
        });
        let (title, secrets) = (self.route.title(), Arc::clone(&self.secrets));
        let ended = Box::pin(async move {
            // Once its end was taken, ssh closes the session with all that was not read yet.
            let _ = all_read.recv().await;
            let ended = child.wait().await;
            drop(permit);
            match ended {
                Ok(status) => {
                    use std::os::unix::process::ExitStatusExt as _;
                    Ok(Ended { code: status.code(), signal: status.signal() })
                }
                // So the crate calls exit code 127.
                Err(openssh::Error::Remote(_)) => Ok(Ended { code: Some(127), signal: None }),
                // No exit code came: a signal ended it, unless the connection is gone.
                Err(_) if master.is_alive().await => Ok(Ended { code: None, signal: None }),
                Err(_) => Err(secrets.mask(master.reason(&title).await)),
            }
        });
        Ok(Running { stdin: Box::pin(stdin), stdout: Box::pin(stdout), stderr: Box::pin(stderr_read), ended })
    }
}

/// A stream that lets go of `reading` when it was read to its end, or is no longer read.
struct UntilEnd<R> {
    stream: R,
    reading: Option<mpsc::Sender<()>>,
}

impl<R: AsyncRead + Unpin> AsyncRead for UntilEnd<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let ended = match &polled {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
        };
        if ended {
            self.reading = None;
        }
        polled
    }
}

#[cfg(test)]
mod tests;
