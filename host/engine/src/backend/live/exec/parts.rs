//! What several commands said on one stream, told apart by a mark after each.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::backend::budget::Budget;

/// What is kept of one command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// So many bytes of its beginning.
    Beginning(usize),
    /// So many bytes of its end.
    End(usize),
}

/// What one command said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) data: Vec<u8>,
    pub(super) dropped: u64,
    pub(super) code: i32,
    /// When its end was read.
    pub(super) at: Instant,
}

/// What all of them said.
pub(super) struct All {
    /// Of those that ran to their end.
    pub(super) parts: Vec<Part>,
    /// What stands after the last mark.
    pub(super) rest: Vec<u8>,
}

/// Takes a stream apart while it is read, in bounded memory.
pub(super) struct Parts {
    mark: Vec<u8>,
    keep: std::vec::IntoIter<Keep>,
    now: Keep,
    pending: Vec<u8>,
    data: Vec<u8>,
    dropped: u64,
    done: Vec<Part>,
    budget: Budget,
}

impl Parts {
    /// For as many commands as there are wishes, which the budget may not allow in full.
    pub(super) fn new(mark: &str, keep: Vec<Keep>, budget: &Budget) -> Self {
        let mut keep = keep.into_iter();
        Self {
            mark: format!("\n{mark} ").into_bytes(),
            now: keep.next().unwrap_or(Keep::End(0)),
            keep,
            pending: Vec::new(),
            data: Vec::new(),
            dropped: 0,
            done: Vec::new(),
            budget: budget.clone(),
        }
    }

    /// Reads a stream to its end. One that breaks ends there.
    pub(super) async fn read(mut self, mut stream: impl AsyncRead + Unpin) -> All {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(read) = stream.read(&mut buffer).await
            && read > 0
        {
            self.take(&buffer[..read]);
        }
        let pending = std::mem::take(&mut self.pending);
        self.keep(&pending);
        All { parts: self.done, rest: self.data }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        loop {
            let Some(at) = find(&self.pending, &self.mark) else {
                // All but what could be the beginning of a mark.
                let sure = self.pending.len().saturating_sub(self.mark.len() - 1);
                let sure: Vec<u8> = self.pending.drain(..sure).collect();
                self.keep(&sure);
                return;
            };
            let after = at + self.mark.len();
            let Some(line) = self.pending[after..].iter().position(|byte| *byte == b'\n') else {
                return;
            };
            let code = String::from_utf8_lossy(&self.pending[after..after + line]).trim().parse().unwrap_or(-1);
            let said: Vec<u8> = self.pending.drain(..at).collect();
            self.pending.drain(..self.mark.len() + line + 1);
            self.keep(&said);
            self.done.push(Part {
                data: std::mem::take(&mut self.data),
                dropped: std::mem::take(&mut self.dropped),
                code,
                at: Instant::now(),
            });
            self.now = self.keep.next().unwrap_or(Keep::End(8 << 10));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        match self.now {
            Keep::Beginning(most) => {
                let room = self.budget.take(most.saturating_sub(self.data.len()).min(bytes.len()));
                self.data.extend_from_slice(&bytes[..room]);
                self.dropped += (bytes.len() - room) as u64;
            }
            Keep::End(most) => {
                let before = self.data.len();
                self.data.extend_from_slice(bytes);
                let more = self.data.len().min(most).saturating_sub(before);
                let missing = more - self.budget.take(more);
                let over = self.data.len().saturating_sub(most) + missing;
                self.data.drain(..over);
                self.dropped += over as u64;
            }
        }
    }
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = *pattern.first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| *byte == first) {
        from += at;
        if text[from..].starts_with(pattern) {
            return Some(from);
        }
        from += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn however_it_is_cut_it_comes_apart_the_same(
            said in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![b'\n', b'm', b' ', b'x']), 0..30), 1..5),
            cuts in prop::collection::vec(1usize..9, 1..60),
        ) {
            // No output holds the mark itself.
            prop_assume!(said.iter().all(|part| find(part, b"\nmm ").is_none()));
            let mut stream = Vec::new();
            for (code, part) in said.iter().enumerate() {
                stream.extend_from_slice(part);
                stream.extend_from_slice(format!("\nmm {code}\n").as_bytes());
            }
            let mut parts = Parts::new("mm", vec![Keep::Beginning(10); said.len()], &Budget::default());
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                parts.take(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(parts.done.len(), said.len());
            for (code, (part, said)) in parts.done.iter().zip(&said).enumerate() {
                prop_assert_eq!(&part.data, &said[..said.len().min(10)]);
                prop_assert_eq!(part.dropped as usize, said.len().saturating_sub(10));
                prop_assert_eq!(part.code, code as i32);
            }
        }
    }

    #[test]
    fn of_errors_the_end_is_kept() {
        let mut parts = Parts::new("mm", vec![Keep::End(3)], &Budget::default());
        parts.take(b"abcdef\nmm 7\nrest");
        assert_eq!((parts.done[0].data.as_slice(), parts.done[0].dropped, parts.done[0].code), (&b"def"[..], 3, 7));
    }
}
