//! Plain lines on standard error: for pipes, files and terminals without abilities.

use std::io::{self, Write as _};

use runner_types::Event;

use super::{Ending, Reporter, Tally, Wording};

/// One line an event.
pub(crate) struct Lines {
    wording: Wording,
    tally: Tally,
}

impl Lines {
    pub(crate) fn new(wording: Wording) -> Self {
        Self { wording, tally: Tally::default() }
    }
}

impl Reporter for Lines {
    fn name(&self) -> &'static str {
        "line"
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let text = self.wording.event(event, &self.tally);
        self.tally.take(event);
        match text {
            Some(text) => io::stderr().lock().write_all(text.as_bytes()),
            None => Ok(()),
        }
    }

    fn end(&mut self, ending: &Ending) -> io::Result<()> {
        io::stderr().lock().write_all(ending.text(&self.tally, self.wording.paint()).as_bytes())
    }

    fn uses_terminal(&self) -> bool {
        true
    }
}
