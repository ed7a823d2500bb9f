//! Commands that `lab` gives: quiet when they succeed, with all they said when they do not.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Characters of a command that an error shows.
const SHOWN: usize = 300;

/// Standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    feed(command, &[])
}

/// The same with bytes for its standard input.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Result<String> {
    let shown = shown(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run `{shown}`"))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // It may end before it has read everything; then its status says what matters.
                let _ = stdin.write_all(input);
            }
        });
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("cannot run `{shown}`"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("`{shown}` failed: {}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}

/// Whether a command succeeds. What it says is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Asks until there is an answer; an error after `seconds` says what was last seen.
pub(crate) fn until<T>(what: &str, seconds: u64, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if begun.elapsed().as_secs() >= seconds => {
                return Err(error.context(format!("{what} did not come about within {seconds} s")));
            }
            Err(_) => sleep(Duration::from_millis(300)),
        }
    }
}

/// Does the same for every item, side by side; the errors of all are one.
pub(crate) fn side_by_side<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    let ends: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(move || work(item))).collect();
        let died = |_| Err(anyhow::anyhow!("a thread of the lab died"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect()
    });
    let errors: Vec<String> = ends.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    if errors.is_empty() { Ok(()) } else { bail!("{}", errors.join("\n")) }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let text = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_all_that_was_said() {
        let mut command = Command::new("sh");
        let error = feed(command.args(["-c", "cat; echo wrong >&2; exit 3"]), b"given ").unwrap_err().to_string();
        assert!(error.contains("given wrong") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn every_failure_of_several_is_named() {
        let error = side_by_side(&[1, 2, 3], |n| if n % 2 == 1 { bail!("no {n}") } else { Ok(()) }).unwrap_err();
        assert_eq!(error.to_string(), "no 1\nno 3");
    }
}
