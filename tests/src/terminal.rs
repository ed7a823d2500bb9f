//! A process at a pseudo-terminal, and somebody who types when a question is there.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde::Deserialize;

use crate::runner::{Ended, Invocation};

/// Longest wait for a question.
const PATIENCE: Duration = Duration::from_secs(300);

/// What to type when the terminal shows something.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Text that must have been shown since the last answer; line breaks and blanks are alike.
    pub when: String,
    /// What is typed then, the Enter key as `\n`.
    pub typed: String,
}

/// What a process at a terminal said.
#[derive(Debug)]
pub struct Typed {
    /// How it ended; `stderr` holds what the terminal showed.
    pub ended: Ended,
    /// What was shown before each answer, with every run of blanks and line breaks as one blank.
    pub shown: Vec<String>,
}

impl Invocation {
    /// Runs it at a terminal of its own and answers in order.
    ///
    /// # Errors
    /// When it cannot be run, a question does not come, or the process does not end.
    pub fn at_terminal(self, answers: &[Answer]) -> Result<Typed> {
        let mut left = answers.iter();
        let mut next = left.next();
        let mut shown = Vec::new();
        let ended = self.conversing(PATIENCE, |since| {
            let answer = next.filter(|answer| since.contains(&flat(&answer.when)))?;
            shown.push(since.to_owned());
            next = left.next();
            Some(answer.typed.clone())
        })?;
        if let Some(answer) = next {
            bail!("{:?} was not shown; the terminal showed:\n{}", answer.when, ended.stderr);
        }
        Ok(Typed { ended, shown })
    }

    /// Runs it at a terminal of its own. Whenever something was shown, `answer` is asked what to type now; it is given
    /// what was shown since it last typed, with every run of blanks and line breaks as one blank.
    ///
    /// # Errors
    /// When it cannot be run, or shows nothing new for as long as `patience` and does not end.
    pub fn conversing(self, patience: Duration, mut answer: impl FnMut(&str) -> Option<String>) -> Result<Ended> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no pseudo-terminal")?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let name = ptsname(&controller, Vec::new())?;
        let name = name.to_str().context("a pseudo-terminal without a name")?;
        let end = || OpenOptions::new().read(true).write(true).open(name).map(Stdio::from);
        // A session of its own: /dev/tty is then this terminal and not that of whoever runs the tests.
        let mut words: Vec<OsString> = vec!["setsid".into(), "--ctty".into(), "--wait".into()];
        words.extend(self.words()?);
        let mut child = self
            .command(&words)?
            .stdin(end()?)
            .stdout(end()?)
            .stderr(end()?)
            .spawn()
            .context("cannot start runner through setsid")?;
        let mut keyboard = File::from(controller.try_clone()?);
        let screen = screen(File::from(controller));
        let (mut all, mut since) = (String::new(), String::new());
        let mut heard = Instant::now();
        let status = loop {
            match screen.recv_timeout(Duration::from_millis(50)) {
                Ok(text) => {
                    heard = Instant::now();
                    all.push_str(&text);
                    since.push_str(&text);
                    if let Some(typed) = answer(&flat(&since)) {
                        since.clear();
                        // What is typed before the question is open may be dropped on purpose.
                        thread::sleep(Duration::from_millis(150));
                        keyboard.write_all(typed.as_bytes())?;
                    }
                }
                Err(_) => match child.try_wait()? {
                    Some(status) => break status,
                    None => thread::sleep(Duration::from_millis(20)),
                },
            }
            if heard.elapsed() > patience {
                child.kill()?;
                child.wait()?;
                bail!("nothing was shown for {patience:?} and the process did not end; the terminal showed:\n{all}");
            }
        };
        while let Ok(text) = screen.recv_timeout(Duration::from_millis(100)) {
            all.push_str(&text);
        }
        Ok(Ended { code: status.code(), stdout: String::new(), stderr: all })
    }
}

/// Every run of blanks and line breaks as one blank.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a terminal until nobody has it open any more.
fn screen(mut terminal: File) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut rest = Vec::new();
        // Linux answers with an error when the last process at the terminal is gone.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            rest.extend_from_slice(&buffer[..length]);
            let whole = match std::str::from_utf8(&rest) {
                Ok(_) => rest.len(),
                Err(error) => error.valid_up_to(),
            };
            let text: Vec<u8> = rest.drain(..whole).collect();
            if sender.send(String::from_utf8_lossy(&text).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}
