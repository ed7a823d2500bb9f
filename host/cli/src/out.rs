//! The two ways out: standard output for what was asked for, standard error for people.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

/// Writes to standard output. A reader that has gone away is no error: it has what it wanted.
///
/// # Errors
/// When standard output cannot be written, for example to a full disk.
pub(crate) fn stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes to standard error, as far as that is possible. What steers a terminal is taken out: messages quote files.
pub(crate) fn stderr(text: &str) {
    // Nobody is left to be told.
    let _ = to_people(&mut io::stderr().lock(), text);
}

fn to_people(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    out.write_all(printable(text).as_bytes())?;
    out.flush()
}

/// Text that cannot steer a terminal: plugins and remote hosts have no say in where the cursor goes, and what is shown
/// stands in the order in which it is read.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(steers) { Cow::Owned(text.replace(steers, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// A word as a shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+…".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A JSON document for standard output.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(stdout(&text)?)
}

/// Rows in columns, under their headings. The last column is as wide as it is.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(&printable(cell));
            let blanks = width.saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', blanks));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut text = line(&mut headings.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Colours for people at a terminal, nothing elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Paint(bool);

impl Paint {
    /// For standard error: colours when it is a terminal and `NO_COLOR` is not set.
    pub(crate) fn for_stderr() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self(wanted && io::stderr().is_terminal())
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\rc\n\td\u{202e}"), "a\u{fffd}[2Jb\u{fffd}c\n\td\u{fffd}");
        assert!(matches!(printable("plain ü"), Cow::Borrowed(_)));
        let mut shown = Vec::new();
        to_people(&mut shown, "warning: \x1b[2J\u{9b}\u{202e}x\n").unwrap();
        assert_eq!(shown, "warning: \u{fffd}[2J\u{fffd}\u{fffd}x\n".as_bytes());
        let rows = vec![vec!["\x1b]0;x\x07".to_owned()]];
        assert!(!table(&["A"], &rows).contains('\x1b'));
    }

    #[test]
    fn columns_are_aligned_and_no_line_ends_in_blanks() {
        let rows = vec![vec!["a".to_owned(), String::new()], vec!["long-name".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["NAME", "VALUE"], &rows), "NAME       VALUE\na\nlong-name  x\n");
    }
}
