//! A terminal that lines are read from, without keeping the process alive for a line that never comes.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, IsTerminal as _, Read, Write};
use std::sync::mpsc;
use std::thread;

use runner_types::Operator;
use rustix::termios::{QueueSelector, tcflush};
use tokio::sync::oneshot;

/// Longest line that is taken.
const MAX_LINE: u64 = 4_096;

/// Where questions are shown and answers are typed.
pub(crate) struct Terminal {
    out: Box<dyn Write + Send>,
    lines: Lines,
    /// Standard input is a terminal whose queue can be emptied.
    real: bool,
}

impl Terminal {
    /// The terminal of this process: only when standard input is one. Input from a pipe or a file answers nothing: what
    /// it holds was not typed by somebody who read the question.
    pub(crate) fn open() -> Option<Self> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        // Questions reach the operator even when standard error goes to a file.
        let out: Box<dyn Write + Send> = match OpenOptions::new().write(true).open("/dev/tty") {
            Ok(tty) => Box::new(tty),
            Err(_) => Box::new(std::io::stderr()),
        };
        Some(Self { out, lines: Lines::of(std::io::stdin()), real: true })
    }

    /// A terminal made of two streams.
    #[cfg(test)]
    pub(crate) fn of(input: impl Read + Send + 'static, out: Box<dyn Write + Send>) -> Self {
        Self { out, lines: Lines::of(input), real: false }
    }

    pub(super) fn show(&mut self, text: &str) {
        // A terminal that is gone shows itself at the next read.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    /// The next line; none: there will be no more.
    pub(super) async fn line(&mut self) -> Option<String> {
        self.lines.next().await
    }

    /// Drops what was typed and not read yet.
    pub(super) fn forget_typed(&self) {
        if self.real {
            // Without it, at worst an early key is taken for an answer.
            let _ = tcflush(rustix::stdio::stdin(), QueueSelector::IFlush);
        }
    }

    /// Asks a question whose one good answer is `y`.
    pub(crate) async fn confirms(&mut self, question: &str) -> bool {
        self.forget_typed();
        self.show(question);
        self.line().await.is_some_and(|line| line.trim() == "y")
    }

    /// Name of the terminal device.
    pub(super) fn name(&self) -> Option<String> {
        let name = rustix::termios::ttyname(rustix::stdio::stdin(), Vec::new()).ok()?;
        Some(name.to_string_lossy().into_owned())
    }
}

/// Lines of a blocking input, read in a thread of its own: a question that is given up leaves only the thread behind,
/// which ends with the process.
struct Lines {
    requests: mpsc::Sender<oneshot::Sender<Option<String>>>,
}

impl Lines {
    fn of(input: impl Read + Send + 'static) -> Self {
        let (requests, waiting) = mpsc::channel();
        // Without a thread every request is answered by its dropped sender: nobody is there.
        let _ = thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || serve(&mut BufReader::new(input), &waiting));
        Self { requests }
    }

    async fn next(&self) -> Option<String> {
        let (answer, line) = oneshot::channel();
        self.requests.send(answer).ok()?;
        line.await.ok().flatten()
    }
}

fn serve(input: &mut impl BufRead, waiting: &mpsc::Receiver<oneshot::Sender<Option<String>>>) {
    while let Ok(mut request) = waiting.recv() {
        let mut line = read_line(input);
        // A question that was given up meanwhile leaves its line to the one that stands there now.
        while let Err(unread) = request.send(line) {
            let Ok(next) = waiting.try_recv() else { break };
            request = next;
            line = unread;
        }
    }
}

fn read_line(input: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    match input.take(MAX_LINE).read_until(b'\n', &mut line) {
        // A line that was not ended with the Enter key is no answer.
        Ok(_) if line.ends_with(b"\n") => Some(String::from_utf8_lossy(&line).into_owned()),
        Ok(_) | Err(_) => None,
    }
}

/// The person at this machine.
pub(crate) fn operator() -> Operator {
    let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = named("SUDO_USER")
        .or_else(|| named("USER"))
        .or_else(|| named("LOGNAME"))
        .unwrap_or_else(|| user_of(rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Operator { user, host }
}

/// Name of a user where the environment says none, as under systemd and in containers.
fn user_of(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid-{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn a_user_without_a_name_is_a_number() {
        assert_eq!(user_of(0), "root");
        assert_eq!(user_of(u32::MAX - 7), format!("uid-{}", u32::MAX - 7));
    }

    #[tokio::test]
    async fn lines_end_with_the_enter_key() {
        let lines = Lines::of(Cursor::new("one\ntwo\nunfinished"));
        assert_eq!(lines.next().await.as_deref(), Some("one\n"));
        assert_eq!(lines.next().await.as_deref(), Some("two\n"));
        assert_eq!(lines.next().await, None);
        assert_eq!(lines.next().await, None);
    }

    #[tokio::test]
    async fn a_question_given_up_does_not_eat_the_next_answer() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let lines = Lines::of(reader);
        {
            let given_up = lines.next();
            tokio::select! {
                biased;
                line = given_up => panic!("nothing was typed, got {line:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        let typing = thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(50));
            writer.write_all(b"y\n").unwrap();
        });
        assert_eq!(lines.next().await.as_deref(), Some("y\n"));
        typing.join().unwrap();
    }
}
