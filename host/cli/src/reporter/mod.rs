//! What a run shows while it goes on. Every reporter is fed the same events, each in a thread of its own: one that fails,
//! blocks or panics starves no other, and none of them holds up the run.

mod ending;
mod json;
mod junit;
mod line;
mod progress;
mod recap;
mod tally;
mod wording;

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use runner_engine::gate::Observer;
use runner_types::{Event, EventKind, Timestamp};
use tokio::sync::oneshot;

use crate::out;
pub(crate) use ending::{Ending, HostState, duration, verdict};
pub(crate) use json::{Json, JsonLines};
pub(crate) use junit::{Junit, refused};
pub(crate) use line::Lines;
pub(crate) use progress::Progress;
pub(crate) use recap::recap;
use tally::Tally;
pub(crate) use wording::{SIMULATED, Wording, answered};

/// Shows events in its own form.
pub(crate) trait Reporter: Send {
    /// What it is called in messages.
    fn name(&self) -> &'static str;

    /// Takes an event.
    ///
    /// # Errors
    /// When it cannot be shown; the reporter gets no further one.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// The run is over.
    ///
    /// # Errors
    /// When that cannot be shown.
    fn end(&mut self, ending: &Ending) -> io::Result<()>;

    /// Whether it writes what was asked for, and not what people see: that it could not is a failure of the command.
    fn is_output(&self) -> bool {
        false
    }

    /// Whether it shares the terminal with questions.
    fn uses_terminal(&self) -> bool {
        false
    }

    /// Leaves the terminal to a question.
    fn leave_terminal(&mut self) {}

    /// Has the terminal again.
    fn take_terminal(&mut self) {}
}

enum Message {
    Event(Arc<Event>),
    /// Waits until `release` is dropped.
    Hold {
        ready: oneshot::Sender<()>,
        release: mpsc::Receiver<()>,
    },
    End(Arc<Ending>),
}

struct Worker {
    messages: mpsc::Sender<Message>,
    /// Answers which output is not whole, and why.
    thread: JoinHandle<Option<String>>,
    uses_terminal: bool,
}

/// How long a question waits for a reporter to leave the terminal.
const HOLD: Duration = Duration::from_secs(5);

/// All reporters of a run.
pub(crate) struct Reporters(Mutex<State>);

struct State {
    workers: Vec<Worker>,
    /// Index of the next event.
    next: u64,
}

impl Reporters {
    /// Starts a thread for each reporter.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(reporters: Vec<Box<dyn Reporter>>) -> io::Result<Self> {
        let workers = reporters.into_iter().map(worker).collect::<io::Result<_>>()?;
        Ok(Self(Mutex::new(State { workers, next: 0 })))
    }

    /// Shows nothing.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(Mutex::new(State { workers: Vec::new(), next: 0 }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the terminal free for a question until the guard is dropped. Everything that happened before is shown first.
    pub(crate) async fn hold(&self) -> Held {
        let mut releases = Vec::new();
        let mut all_ready = Vec::new();
        for worker in self.state().workers.iter().filter(|worker| worker.uses_terminal) {
            let (ready, is_ready) = oneshot::channel();
            let (releasing, release) = mpsc::channel();
            // A reporter that is gone holds nothing up.
            if worker.messages.send(Message::Hold { ready, release }).is_ok() {
                releases.push(releasing);
                all_ready.push(is_ready);
            }
        }
        for ready in all_ready {
            let _ = tokio::time::timeout(HOLD, ready).await;
        }
        Held { _releases: releases }
    }

    /// Tells all reporters how the run ended and waits until they have shown it; answers which outputs are not whole, and
    /// why.
    pub(crate) fn finish(&self, ending: Ending) -> Vec<String> {
        let ending = Arc::new(ending);
        let workers = std::mem::take(&mut self.state().workers);
        for worker in &workers {
            let _ = worker.messages.send(Message::End(Arc::clone(&ending)));
        }
        join(workers)
    }

    /// Ends all reporters when there was no run to end.
    pub(crate) fn give_up(&self) {
        join(std::mem::take(&mut self.state().workers));
    }
}

fn join(workers: Vec<Worker>) -> Vec<String> {
    let ended = workers.into_iter().filter_map(|Worker { messages, thread, .. }| {
        drop(messages);
        // A reporter that panicked has said so itself.
        thread.join().ok().flatten()
    });
    ended.collect()
}

impl Observer for Reporters {
    fn observe(&self, what: EventKind) {
        let mut state = self.state();
        let event = Arc::new(Event { index: state.next, time: Timestamp::from(SystemTime::now()), what });
        state.next += 1;
        for worker in &state.workers {
            let _ = worker.messages.send(Message::Event(Arc::clone(&event)));
        }
    }
}

/// The terminal is free while this lives.
pub(crate) struct Held {
    _releases: Vec<mpsc::Sender<()>>,
}

fn worker(mut reporter: Box<dyn Reporter>) -> io::Result<Worker> {
    let (messages, incoming) = mpsc::channel();
    let uses_terminal = reporter.uses_terminal();
    let thread = std::thread::Builder::new().name(format!("{} reporter", reporter.name())).spawn(move || {
        let mut failed = false;
        let mut lost = None;
        while let Ok(message) = incoming.recv() {
            let shown = match message {
                Message::Hold { ready, release } => {
                    reporter.leave_terminal();
                    let _ = ready.send(());
                    // Ends with an error when the guard is dropped: that is the release.
                    let _ = release.recv();
                    reporter.take_terminal();
                    Ok(())
                }
                Message::Event(_) | Message::End(_) if failed => Ok(()),
                Message::Event(event) => reporter.event(&event),
                Message::End(ending) => reporter.end(&ending),
            };
            if let Err(error) = shown {
                failed = true;
                lost = tell_failure(&*reporter, &error);
            }
        }
        lost
    })?;
    Ok(Worker { messages, thread, uses_terminal })
}

/// Says that a reporter ended early; of an output, answers what is to be said when the run is over.
fn tell_failure(reporter: &dyn Reporter, error: &io::Error) -> Option<String> {
    let name = reporter.name();
    tracing::warn!(reporter = name, %error, "reporter ended early");
    // A reader that went away knows that it did.
    if error.kind() == io::ErrorKind::BrokenPipe {
        return None;
    }
    if reporter.is_output() {
        return Some(format!("the {name} output is not whole: {error}"));
    }
    out::stderr(&format!("warning: the {name} output ends here: {error}\n"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);
    struct Panicking;
    struct Counting(Arc<Mutex<Vec<String>>>);

    impl Reporter for Failing {
        fn name(&self) -> &'static str {
            "failing"
        }
        fn event(&mut self, _: &Event) -> io::Result<()> {
            Err(self.0.into())
        }
        fn end(&mut self, _: &Ending) -> io::Result<()> {
            panic!("a failed reporter gets nothing more")
        }
        fn is_output(&self) -> bool {
            true
        }
    }

    impl Reporter for Panicking {
        fn name(&self) -> &'static str {
            "panicking"
        }
        fn event(&mut self, _: &Event) -> io::Result<()> {
            // Without the message that a panic prints.
            std::panic::resume_unwind(Box::new("on purpose"))
        }
        fn end(&mut self, _: &Ending) -> io::Result<()> {
            Ok(())
        }
    }

    impl Reporter for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }
        fn event(&mut self, event: &Event) -> io::Result<()> {
            self.0.lock().unwrap().push(format!("event {}", event.index));
            Ok(())
        }
        fn end(&mut self, ending: &Ending) -> io::Result<()> {
            self.0.lock().unwrap().push(format!("end {}", ending.run));
            Ok(())
        }
        fn uses_terminal(&self) -> bool {
            true
        }
        fn leave_terminal(&mut self) {
            self.0.lock().unwrap().push("left".to_owned());
        }
        fn take_terminal(&mut self) {
            self.0.lock().unwrap().push("took".to_owned());
        }
    }

    fn waiting() -> EventKind {
        EventKind::Waiting { prompt: "confirm".to_owned(), message: "?".to_owned() }
    }

    #[test]
    fn a_failing_reporter_starves_no_other() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reporters = Reporters::start(vec![
            Box::new(Failing(io::ErrorKind::BrokenPipe)),
            Box::new(Failing(io::ErrorKind::StorageFull)),
            Box::new(Panicking),
            Box::new(Counting(Arc::clone(&seen))),
        ])
        .unwrap();
        reporters.observe(waiting());
        reporters.observe(waiting());
        let lost = reporters.finish(Ending::example());
        assert_eq!(lost, ["the failing output is not whole: no storage space"]);
        assert_eq!(*seen.lock().unwrap(), ["event 0", "event 1", "end run-1"]);
    }

    #[tokio::test]
    async fn a_question_has_the_terminal_for_itself_after_all_that_happened_before() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reporters = Reporters::start(vec![Box::new(Counting(Arc::clone(&seen)))]).unwrap();
        reporters.observe(waiting());
        let held = reporters.hold().await;
        reporters.observe(waiting());
        assert_eq!(*seen.lock().unwrap(), ["event 0", "left"]);
        drop(held);
        reporters.give_up();
        assert_eq!(*seen.lock().unwrap(), ["event 0", "left", "took", "event 1"]);
    }
}
