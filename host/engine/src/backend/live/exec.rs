//! Commands on a real host.
//!
//! A command runs in a clean environment, below `timeout` of coreutils: what takes too long is ended there, too, and not
//! only given up here. Reads of one call go to the host together; what they say is told apart by a mark that no command
//! knows.

mod parts;

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use rand::Rng as _;

use super::LiveHost;
use super::shell::{MOST_ARGUMENTS, RunAs, Running, Script, ShellError};
use crate::backend::budget::Budget;
use crate::backend::failure;
use crate::contract::exec::{Capability, Captured, Command, Output};
use crate::contract::types::EffectClass;
use crate::contract::{Caller, Class, Cut, Failure, FailureKind, InDoubt, Performed, Place};
use parts::{Keep, Part, Parts};

/// Bytes of an output that are kept where the command does not say.
const DEFAULT_OUTPUT: u32 = 64 << 10;
const MOST_OUTPUT: u32 = 1 << 20;
/// Bytes of standard error that a failure tells at least.
const TAIL: usize = 8 << 10;
/// What a command may take beyond its time-out, which ends it on the host.
const GRACE: Duration = Duration::from_secs(20);
/// Command lines of reads on a host at the same time.
const AT_A_TIME: usize = 8;
/// Seconds between being asked to end and being ended.
const KILL_AFTER: &str = "5";
/// Where programs are looked for.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Exit code of a command whose directory is not there, or somewhere else.
const NO_DIRECTORY: i32 = 125;

/// Runs commands, one after the other: each a number of words, then a directory and as many words less one. After each
/// the mark `$1` and its exit code stand on both outputs. `$2`: `input` when standard input is the command's. A directory
/// is granted by its path: a link that leads elsewhere is not followed.
const RUN: &str = r#"m=$1 input=$2
shift 2
run() {
    cd -P -- "$1" && [ "$(pwd -P)" = "$1" ] || exit 125
    shift
    exec env -i HOME="${HOME:-/}" USER="${USER:-root}" LOGNAME="${LOGNAME:-${USER:-root}}" SHELL=/bin/sh LC_ALL=C "$@"
}
at=1
while [ "$at" -le "$#" ]; do
    eval "n=\${$at}"
    i=$((at + 1)) at=$((at + n + 1)) words=
    while [ "$i" -lt "$at" ]; do
        words="$words \"\${$i}\""
        i=$((i + 1))
    done
    if [ "$input" = input ]; then
        (eval "run $words")
    else
        (eval "run $words") </dev/null
    fi
    c=$?
    printf '\n%s %d\n' "$m" "$c"
    printf '\n%s %d\n' "$m" "$c" >&2
done
"#;

#[async_trait::async_trait]
impl Capability for LiveHost {
    async fn run(&self, _: &Place, caller: &Caller, items: Vec<Command>) -> Performed<Output> {
        if items.iter().all(|item| item.effect == EffectClass::Read) {
            return Ok(self.reads(&items, caller.budget()).await);
        }
        let mut answers: Vec<Result<Output, Failure>> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let answer = self.one(index, item, caller.budget()).await;
            let answer = answer.map_err(|doubt| Cut::after(&mut answers, doubt))?;
            let stops = answer.is_err() && Class::from(item.effect).is_write();
            answers.push(answer);
            if stops {
                answers.extend(items[index + 1..].iter().map(|left| Err(failure::not_attempted(left.argv.join(" ")))));
                break;
            }
        }
        Ok(answers)
    }
}

impl LiveHost {
    /// Reads: those of one user that need no input go together, as far as one command line carries them.
    async fn reads(&self, items: &[Command], budget: &Budget) -> Vec<Result<Output, Failure>> {
        let mut groups: Vec<Vec<&Command>> = Vec::new();
        let mut room = 0;
        for item in items {
            let size = size(item);
            let joins = groups.last().and_then(|group| group.first()).is_some_and(|first| {
                first.stdin.is_empty() && item.stdin.is_empty() && user(first) == user(item) && size <= room
            });
            match groups.last_mut() {
                Some(group) if joins => group.push(item),
                _ => {
                    groups.push(vec![item]);
                    room = MOST_ARGUMENTS / 2;
                }
            }
            room = room.saturating_sub(size);
        }
        // Futures made one by one: a closure over references is not general enough for a stream.
        let mut asked = Vec::with_capacity(groups.len());
        for group in groups {
            asked.push(self.group(group, budget));
        }
        let answers: Vec<Vec<_>> = stream::iter(asked).buffered(AT_A_TIME).collect().await;
        answers.into_iter().flatten().collect()
    }

    /// Reads that go to the host together.
    async fn group(&self, group: Vec<&Command>, budget: &Budget) -> Vec<Result<Output, Failure>> {
        if let Some(refused) = group.first().and_then(|first| budget.admit(&first.argv.join(" ")).err()) {
            return vec![Err(refused); group.len()];
        }
        let ran = match self.attempt(&group, budget).await {
            Ok(ran) => ran,
            Err(NotRun::Failed(failure)) => return vec![Err(failure); group.len()],
            Err(NotRun::Shell(error)) => Ran { ended: Vec::new(), broken: Some(error) },
        };
        let broken = ran.broken;
        let mut ended = ran.ended.into_iter();
        let answer = |item: &&Command| match ended.next() {
            Some(ended) => self.answer(item, ended).unwrap_or_else(|late| Err(late.failure(item))),
            None => {
                let error = broken.clone().unwrap_or_else(|| ShellError::Lost("it was cut short".to_owned()));
                Err(error.of_read(&item.argv.join(" ")))
            }
        };
        group.iter().map(answer).collect()
    }

    /// A command by itself.
    async fn one(&self, index: usize, item: &Command, budget: &Budget) -> Result<Result<Output, Failure>, InDoubt> {
        let class = Class::from(item.effect);
        let subject = item.argv.join(" ");
        let settle = |error: ShellError| error.settle(class, index, &subject).map(Err);
        let ran = match self.attempt(&[item], budget).await {
            Ok(ran) => ran,
            Err(NotRun::Failed(failure)) => return Ok(Err(failure)),
            Err(NotRun::Shell(error)) => return settle(error),
        };
        match (ran.ended.into_iter().next(), ran.broken) {
            (Some(ended), _) => match self.answer(item, ended) {
                Ok(answer) => Ok(answer),
                Err(late) if class.is_write() => Err(InDoubt { item: index, message: late.to_string() }),
                Err(late) => Ok(Err(late.failure(item))),
            },
            (None, Some(error)) => settle(error),
            (None, None) => settle(ShellError::Lost(format!("{} did not say how {subject} ended", self.name))),
        }
    }

    /// Sends commands together and takes what they say.
    async fn attempt(&self, items: &[&Command], budget: &Budget) -> Result<Ran, NotRun> {
        let Some(first) = items.first() else {
            return Ok(Ran { ended: Vec::new(), broken: None });
        };
        for item in items {
            check(item).map_err(NotRun::Failed)?;
        }
        let input = self.secrets.join(&first.stdin).await.map_err(NotRun::Failed)?;
        let mark = hex::encode(rand::rng().random::<[u8; 16]>());
        let mut script = Script::new(RUN).argument(&mark).argument(if input.is_empty() { "none" } else { "input" });
        for item in items {
            let words = words(item);
            script = script.argument(words.len().to_string()).arguments(words);
        }
        if let Some(user) = user(first) {
            script = script.run_as(RunAs::User(user.to_owned()));
        }
        let limits = |keep: fn(usize) -> Keep, least: usize| {
            items.iter().map(|item| keep(limit(item).max(least))).collect::<Vec<_>>()
        };
        let stdout = Parts::new(&mark, limits(Keep::Beginning, 0), budget);
        let stderr = Parts::new(&mark, limits(Keep::End, TAIL), budget);
        let time: Duration = items.iter().map(|item| Duration::from_millis(item.time_out.into())).sum();
        let begun = Instant::now();
        let carried = async {
            let Running { mut stdin, stdout: out, stderr: err, ended } = self.shell.start(script).await?;
            let feed = async move {
                use tokio::io::AsyncWriteExt as _;
                // One that ends without reading all of its input closes it: its end tells whether that was well.
                let _ = stdin.write_all(&input).await;
                let _ = stdin.shutdown().await;
            };
            let (out, err, (), ended) = tokio::join!(stdout.read(out), stderr.read(err), feed, ended);
            Ok::<_, ShellError>((out, err, ended))
        };
        let (out, err, ended) = match tokio::time::timeout(time + GRACE, carried).await {
            Ok(carried) => carried.map_err(NotRun::Shell)?,
            Err(_) => return Err(NotRun::Shell(ShellError::TimedOut(time))),
        };
        let (broken, rest) = match ended {
            Ok(_) => (None, err.rest),
            Err(reason) => (Some(ShellError::Lost(reason)), err.rest),
        };
        if out.parts.is_empty() && broken.is_none() {
            // Not even the first command began: what carries them failed, and says why.
            let line = String::from_utf8_lossy(&rest);
            let line = line.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason was given");
            let message = format!("no command could be run on {}: {}", self.name, line.trim());
            return Err(NotRun::Failed(failure::failed(
                first.argv.join(" "),
                message,
                None,
                &String::from_utf8_lossy(&rest),
            )));
        }
        let mut last = begun;
        let mut ended = Vec::with_capacity(items.len());
        for (stdout, stderr) in out.parts.into_iter().zip(err.parts) {
            let took = stdout.at.duration_since(last);
            last = stdout.at;
            ended.push(Ended { code: stdout.code, stdout, stderr, took });
        }
        Ok(Ran { ended, broken })
    }

    /// What a command that ran to its end answers. `Err`: its time was over.
    fn answer(&self, item: &Command, ended: Ended) -> Result<Result<Output, Failure>, Late> {
        let Ended { code, stdout, mut stderr, took } = ended;
        let time = Duration::from_millis(item.time_out.into());
        let program = item.argv.first().map_or("", String::as_str);
        // What `timeout` answers when it asked the command to end, or ended it.
        if matches!(code, 124 | 137) && took >= time {
            return Err(Late { program: program.to_owned(), host: self.name.clone(), time });
        }
        let options = item.options.as_ref();
        if code == 0 || options.is_some_and(|options| options.accept.contains(&code)) {
            let over = stderr.data.len().saturating_sub(limit(item));
            stderr.data.drain(..over);
            stderr.dropped += over as u64;
            return Ok(Ok(Output { code, stdout: captured(stdout), stderr: captured(stderr), unseen: false }));
        }
        let tail = if stderr.data.is_empty() { stdout.data } else { stderr.data };
        let tail = String::from_utf8_lossy(&tail);
        let host = &self.name;
        let message = match options.and_then(|options| options.directory.as_ref()) {
            Some(directory) if code == NO_DIRECTORY => {
                format!("{program} on {host} needs {directory}, which is no directory there, or a link to another")
            }
            _ => format!("{program} on {host} ended with exit code {code}"),
        };
        let mut failed = failure::failed(item.argv.join(" "), message, Some(code), &tail);
        if let FailureKind::Failed(exit) = &mut failed.kind {
            // As a shell tells the signal that ended a command.
            exit.signal = (129..=159).contains(&code).then(|| code - 128);
        }
        Ok(Err(failed))
    }
}

/// Why commands were not run, or not all.
enum NotRun {
    Failed(Failure),
    Shell(ShellError),
}

/// What commands said that were sent together.
struct Ran {
    /// Those that ran to their end, the first ones.
    ended: Vec<Ended>,
    /// Why there are no more.
    broken: Option<ShellError>,
}

struct Ended {
    code: i32,
    stdout: Part,
    stderr: Part,
    took: Duration,
}

/// A command that took longer than it was given.
#[derive(Debug, thiserror::Error)]
#[error("{program} on {host} did not end within {} s and was ended", .time.as_secs_f32())]
struct Late {
    program: String,
    host: String,
    time: Duration,
}

impl Late {
    fn failure(&self, item: &Command) -> Failure {
        failure::timed_out(item.argv.join(" "), self.to_string())
    }
}

fn user(item: &Command) -> Option<&str> {
    item.options.as_ref().and_then(|options| options.user.as_deref())
}

fn limit(item: &Command) -> usize {
    let limit = match item.options.as_ref().map_or(0, |options| options.output_limit) {
        0 => DEFAULT_OUTPUT,
        asked => asked.min(MOST_OUTPUT),
    };
    limit as usize
}

fn size(item: &Command) -> usize {
    words(item).iter().map(|word| word.len() + 3).sum()
}

/// Refuses what cannot be sent.
fn check(item: &Command) -> Result<(), Failure> {
    if size(item) > MOST_ARGUMENTS {
        let message =
            format!("a command of more than {MOST_ARGUMENTS} bytes cannot be sent; give it as standard input");
        return Err(failure::invalid(item.argv.join(" "), message));
    }
    Ok(())
}

/// Directory, environment, `timeout` with its arguments, and the command.
fn words(item: &Command) -> Vec<String> {
    let options = item.options.as_ref();
    let mut words = vec![options.and_then(|options| options.directory.clone()).unwrap_or_else(|| "/".to_owned())];
    words.push(PATH.to_owned());
    words.extend(options.iter().flat_map(|o| &o.environment).map(|label| format!("{}={}", label.name, label.value)));
    let seconds = f64::from(item.time_out.max(1)) / 1000.0;
    words.extend(["timeout", "-k", KILL_AFTER].map(str::to_owned));
    words.push(format!("{seconds:.3}"));
    words.extend(item.argv.iter().cloned());
    words
}

fn captured(part: Part) -> Captured {
    Captured { data: part.data, dropped: u32::try_from(part.dropped).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests;
