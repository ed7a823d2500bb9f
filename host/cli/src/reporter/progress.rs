//! Bars on a terminal: one for each target that is being worked on, one for the whole run, and lines above them for what
//! is over.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use runner_types::{Attempt, Decision, Event, EventKind, Target};

use super::wording::counted;
use super::{Ending, Reporter, Tally, Wording};
use crate::out::printable;

const TICK: Duration = Duration::from_millis(120);

/// Bars, and lines above them.
pub(crate) struct Progress {
    wording: Wording,
    tally: Tally,
    bars: MultiProgress,
    whole: Option<ProgressBar>,
    working: HashMap<(String, Target), ProgressBar>,
}

impl Progress {
    pub(crate) fn new(wording: Wording) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { wording, tally: Tally::default(), bars, whole: None, working: HashMap::new() }
    }

    fn style(template: &str) -> ProgressStyle {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
    }

    fn begin(&mut self, attempt: &Attempt, doing: &str) {
        let bar =
            ProgressBar::new_spinner().with_style(Self::style("{spinner} {prefix:.bold} {wide_msg:.dim} {elapsed}"));
        let bar = match &self.whole {
            Some(whole) => self.bars.insert_before(whole, bar),
            None => self.bars.add(bar),
        };
        bar.set_prefix(attempt.target.to_string());
        bar.set_message(format!("{}: {doing}", attempt.step));
        bar.enable_steady_tick(TICK);
        if let Some(old) = self.working.insert((attempt.step.clone(), attempt.target.clone()), bar) {
            old.finish_and_clear();
        }
    }

    fn bar(&self, attempt: &Attempt) -> Option<&ProgressBar> {
        self.working.get(&(attempt.step.clone(), attempt.target.clone()))
    }

    fn update(&mut self, event: &Event) {
        match &event.what {
            EventKind::RunBegun { .. } => {
                let (_, total) = self.tally.progress();
                let whole = ProgressBar::new(total as u64)
                    .with_style(Self::style("[{bar:30}] {pos}/{len} operations, {elapsed}").progress_chars("=> "));
                self.whole = Some(self.bars.add(whole));
            }
            EventKind::StepBegun { attempt, component, operation, .. } => {
                self.begin(attempt, &format!("{operation} {component}"));
            }
            EventKind::Progress { attempt, message, done, total } => {
                if let Some(bar) = self.bar(attempt) {
                    let message = format!("{}: {message}{}", attempt.step, counted(*done, *total));
                    bar.set_message(printable(&message).into_owned());
                }
            }
            EventKind::EffectBegun { call, function, items, class } if class.is_write() => {
                if let Some(bar) = self.bar(&call.of()) {
                    let what = items.first().map_or("", |item| item.subject.as_str());
                    let message = format!("{}: {function} {what}", call.step);
                    bar.set_message(printable(&message).into_owned());
                }
            }
            EventKind::StepEnded { attempt, .. } => {
                if let Some(bar) = self.working.remove(&(attempt.step.clone(), attempt.target.clone())) {
                    bar.finish_and_clear();
                }
                self.count();
            }
            EventKind::Decided { what: Decision::Skipped { .. }, .. } => self.count(),
            EventKind::EffectBegun { .. }
            | EventKind::EffectEnded { .. }
            | EventKind::Log { .. }
            | EventKind::Decided { .. }
            | EventKind::Soaking { .. }
            | EventKind::Waiting { .. }
            | EventKind::RunEnded { .. } => {}
        }
    }

    fn count(&self) {
        if let Some(whole) = &self.whole {
            whole.set_position(self.tally.progress().0 as u64);
        }
    }

    fn clear(&mut self) {
        for (_, bar) in self.working.drain() {
            bar.finish_and_clear();
        }
        if let Some(whole) = self.whole.take() {
            whole.finish_and_clear();
        }
    }
}

impl Reporter for Progress {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let text = self.wording.event(event, &self.tally);
        self.tally.take(event);
        self.update(event);
        match text {
            Some(text) => self.bars.println(text.trim_end()),
            None => Ok(()),
        }
    }

    fn end(&mut self, ending: &Ending) -> io::Result<()> {
        self.clear();
        io::stderr().lock().write_all(ending.text(&self.tally, self.wording.paint()).as_bytes())
    }

    fn uses_terminal(&self) -> bool {
        true
    }

    fn leave_terminal(&mut self) {
        // What cannot be cleared stands above the question: ugly, and no reason not to ask.
        let _ = self.bars.clear();
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn take_terminal(&mut self) {
        self.bars.set_draw_target(ProgressDrawTarget::stderr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::Paint;
    use crate::reporter::tally::tests::failed_run;

    #[test]
    fn bars_come_and_go_with_the_work() {
        let mut progress = Progress::new(Wording::new(0, Paint::default(), true));
        progress.bars.set_draw_target(ProgressDrawTarget::hidden());
        let events = failed_run();
        for event in &events[..2] {
            progress.event(event).unwrap();
        }
        assert_eq!(progress.working.len(), 1);
        for event in &events[2..] {
            progress.event(event).unwrap();
        }
        assert!(progress.working.is_empty());
        assert_eq!(progress.whole.as_ref().map(ProgressBar::position), Some(2));
    }
}
