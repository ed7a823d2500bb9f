//! Mounts that a lab which was cut off left behind.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::command::output;

/// Unmounts everything below a directory, the innermost first.
pub(crate) fn detach_below(directory: &Path) -> Result<()> {
    let table = fs::read("/proc/self/mounts").context("cannot read the table of mounts")?;
    let mut points = below(&table, directory);
    points.reverse();
    for point in points {
        // Lazily: a process that is about to end may still be in it.
        output(Command::new("umount").arg("--lazy").arg(point))?;
    }
    Ok(())
}

/// Mount points below a directory, in the order in which they were mounted.
fn below(table: &[u8], directory: &Path) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(1)).map(unescaped);
    points.filter(|point| point.starts_with(directory) && point != directory).collect()
}

/// A mount point as the table writes it: blanks and backslashes are octal.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) if *first == b'\\' => {
                bytes.push(code);
                rest = &more[3..];
            }
            Some(_) | None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    std::ffi::OsStr::from_bytes(&bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_is_named() {
        let table = b"a /lab ext4 rw 0 0\nb /lab/x ext4 rw 0 0\nc /labor ext4 rw 0 0\nd /lab/x/a\\040b tmpfs rw 0 0\n";
        assert_eq!(below(table, Path::new("/lab")), [PathBuf::from("/lab/x"), PathBuf::from("/lab/x/a b")]);
    }
}
