//! What a script says, apart from what is said before it begins.
//!
//! The user's shell may read start-up files that print (bash does, as Debian builds it), and sudo passes on what PAM says.
//! So each script first says a mark of its own on both streams, and what stands before it is no answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rand::Rng as _;
use tokio::io::{AsyncRead, ReadBuf};

use crate::backend::live::shell::Script;

/// Says the mark `$1`. No argument holds the NUL after it: who prints the command line does not say the mark.
const SAY: &str = "printf '%s\\0' \"$1\"\nprintf '%s\\0' \"$1\" >&2\nshift\n";
/// Bytes that are read at once before the mark.
const PIECE: usize = 4 << 10;

/// Lets a script begin with a mark; answers it as it will stand on both streams.
pub(super) fn marked(script: &mut Script) -> Vec<u8> {
    let mark = hex::encode(rand::rng().random::<[u8; 16]>());
    script.text.insert_str(0, SAY);
    script.arguments.insert(0, mark.clone());
    [mark.as_bytes(), b"\0"].concat()
}

/// A stream from its mark on.
pub(super) struct Begun<R> {
    stream: R,
    mark: Vec<u8>,
    /// Bytes that are handed on where no mark comes.
    reasons: usize,
    /// Whether the mark came, or the stream ended before it.
    is_passed: bool,
    /// What was read and is not handed on.
    held: Vec<u8>,
}

impl<R> Begun<R> {
    /// Without a mark nothing of it is an answer.
    pub(super) fn output(stream: R, mark: &[u8]) -> Self {
        Self::errors(stream, mark, 0)
    }

    /// Without a mark its last `reasons` bytes say why the script did not begin.
    pub(super) fn errors(stream: R, mark: &[u8], reasons: usize) -> Self {
        Self { stream, mark: mark.to_vec(), reasons, is_passed: false, held: Vec::new() }
    }

    /// Takes what was read before the mark; nothing: the end.
    fn take(&mut self, read: &[u8]) {
        let from = self.held.len().saturating_sub(self.mark.len());
        self.held.extend_from_slice(read);
        let at = self.held[from..].windows(self.mark.len()).position(|window| window == self.mark);
        let over = match at {
            Some(at) => from + at + self.mark.len(),
            None if read.is_empty() => self.held.len().saturating_sub(self.reasons),
            // Its end may be the mark's beginning.
            None => self.held.len().saturating_sub(self.reasons.max(self.mark.len())),
        };
        self.is_passed = at.is_some() || read.is_empty();
        self.held.drain(..over);
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Begun<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while !self.is_passed {
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            self.take(read.filled());
        }
        if self.held.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let fits = self.held.len().min(buffer.remaining());
        buffer.put_slice(&self.held[..fits]);
        self.held.drain(..fits);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Reads a stream that comes in pieces of these sizes.
    fn read(
        make: impl FnOnce(tokio::io::DuplexStream) -> Begun<tokio::io::DuplexStream>,
        all: &[u8],
        cut: usize,
    ) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut far, near) = tokio::io::duplex(cut);
            let mut found = Vec::new();
            let mut stream = make(near);
            let write = async {
                tokio::io::AsyncWriteExt::write_all(&mut far, all).await.unwrap();
                drop(far);
            };
            tokio::join!(write, async { stream.read_to_end(&mut found).await.unwrap() });
            found
        })
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"ab\0\nx".to_vec()), 0..40)
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_script_is_heard_from_its_mark_on(before in bytes(), said in bytes(), cut in 1_usize..20) {
            let mark = b"aba\0";
            let all = [before.as_slice(), mark, &said].concat();
            let at = all.windows(mark.len()).position(|window| window == mark).unwrap();
            let wanted = &all[at + mark.len()..];
            prop_assert_eq!(read(|stream| Begun::output(stream, mark), &all, cut), wanted);
            prop_assert_eq!(read(|stream| Begun::errors(stream, mark, 3), &all, cut), wanted);
        }

        #[test]
        fn of_one_that_does_not_begin_only_the_reason_is_heard(said in bytes(), cut in 1_usize..20) {
            prop_assert_eq!(read(|stream| Begun::output(stream, b"no mark"), &said, cut), b"");
            let wanted = &said[said.len().saturating_sub(5)..];
            prop_assert_eq!(read(|stream| Begun::errors(stream, b"no mark", 5), &said, cut), wanted);
        }
    }
}
