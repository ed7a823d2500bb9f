//! Streams between threads that may block and tasks that may not, in bounded memory.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes a piece.
const PIECE: usize = 256 << 10;
/// Pieces that may wait.
const WAITING: usize = 4;

/// The blocking end that is written to. What it was not told to finish ends with an error on the other side, so that
/// half of something is never taken for all of it.
pub(crate) struct Sink {
    pieces: Sender<io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
}

/// The end that a task reads.
pub(crate) struct Source {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
}

/// What a task's pieces make: an empty piece ends it; without one, the end is an error.
pub(crate) fn pieces() -> (Sender<io::Result<Vec<u8>>>, Source) {
    let (sender, receiver) = channel(WAITING);
    (sender, Source { pieces: receiver, piece: Vec::new(), at: 0 })
}

/// A pipe into a task.
pub(crate) fn into_async() -> (Sink, Source) {
    let (sender, source) = pieces();
    (Sink { pieces: sender, buffer: Vec::new() }, source)
}

/// What a task's stream holds, for a thread that may block.
pub(crate) fn into_blocking(mut stream: Pin<Box<dyn AsyncRead + Send>>) -> impl Read + Send {
    let (sender, receiver) = channel(WAITING);
    tokio::spawn(async move {
        loop {
            let mut piece = vec![0; PIECE];
            let read = stream.read(&mut piece).await;
            let end = !matches!(read, Ok(count) if count > 0);
            let piece = read.map(|count| {
                piece.truncate(count);
                piece.shrink_to_fit();
                piece
            });
            if sender.send(piece).await.is_err() || end {
                break;
            }
        }
    });
    Blocking { pieces: receiver, piece: Vec::new(), at: 0, ended: false }
}

impl Sink {
    /// Says that this was all.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Ok(Vec::new()))
    }

    fn send(&self, piece: io::Result<Vec<u8>>) -> io::Result<()> {
        self.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.buffer.is_empty() {
            true => Ok(()),
            false => {
                let piece = std::mem::take(&mut self.buffer);
                self.send(Ok(piece))
            }
        }
    }
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.at == this.piece.len() {
            match this.pieces.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(piece))) => {
                    if piece.is_empty() {
                        // Another read after the end finds the end again.
                        this.pieces.close();
                        return Poll::Ready(Ok(()));
                    }
                    this.piece = piece;
                    this.at = 0;
                }
            }
        }
        let count = buffer.remaining().min(this.piece.len() - this.at);
        buffer.put_slice(&this.piece[this.at..this.at + count]);
        this.at += count;
        Poll::Ready(Ok(()))
    }
}

struct Blocking {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.ended {
            let piece = self.pieces.blocking_recv();
            self.piece = piece.ok_or(io::ErrorKind::UnexpectedEof)??;
            self.at = 0;
            self.ended = self.piece.is_empty();
        }
        let count = Read::read(&mut &self.piece[self.at..], buffer)?;
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let data: Vec<u8> = (0..1_000_000u32).map(|n| (n % 255) as u8).collect();
        let (mut sink, source) = into_async();
        let sent = data.clone();
        let writer = tokio::task::spawn_blocking(move || {
            sink.write_all(&sent)?;
            sink.finish()
        });
        let mut blocking = into_blocking(Box::pin(source));
        let found = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
            let mut found = Vec::new();
            blocking.read_to_end(&mut found)?;
            Ok(found)
        });
        assert!(writer.await.is_ok_and(|sent| sent.is_ok()));
        assert_eq!(found.await.ok().and_then(Result::ok), Some(data));
    }

    #[tokio::test]
    async fn a_slow_reader_holds_up_the_writer() {
        const ALL: usize = 64 * PIECE;
        const STEP: usize = PIECE / 4;
        let accepted = Arc::new(AtomicUsize::new(0));
        let (mut sink, mut source) = into_async();
        let writing = Arc::clone(&accepted);
        let writer = tokio::task::spawn_blocking(move || {
            for _ in 0..ALL / STEP {
                sink.write_all(&[1; STEP])?;
                writing.fetch_add(STEP, Ordering::Relaxed);
            }
            sink.finish()
        });
        let mut read = 0;
        let mut buffer = vec![0; STEP];
        loop {
            // The writer gets as far as it can.
            tokio::task::yield_now().await;
            let inside = accepted.load(Ordering::Relaxed).saturating_sub(read);
            // What waits, what the writer is about to send, what the reader is about to take.
            assert!(inside <= (WAITING + 2) * PIECE, "{inside} bytes are in memory");
            match source.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(read, ALL);
        assert!(writer.await.is_ok_and(|sent| sent.is_ok()));
    }

    #[tokio::test]
    async fn what_was_not_finished_is_an_error() {
        let (mut sink, mut source) = into_async();
        let writer = tokio::task::spawn_blocking(move || sink.write_all(b"half").and_then(|()| sink.flush()));
        assert!(writer.await.is_ok());
        let mut found = Vec::new();
        assert!(source.read_to_end(&mut found).await.is_err());
    }
}
