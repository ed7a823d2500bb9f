//! How much the answers of one call may hold together, wherever they come from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::backend::failure;
use crate::contract::Failure;

/// Bytes of data that all answers of a call may hold together, before they are written as JSON.
const MOST_DATA: usize = 16 << 20;
/// Bytes of what is said of an entry of a directory, besides its path.
pub(crate) const ENTRY: usize = 128;

/// What is left of the bytes that the answers of a call may hold. Clones share it: all places of a call take from one.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicUsize>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(MOST_DATA)))
    }
}

impl Budget {
    /// Takes so many bytes, or as many as there are: those may be kept.
    pub(crate) fn take(&self, wanted: usize) -> usize {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(wanted)));
        taken.unwrap_or_else(|left| left).min(wanted)
    }

    /// Refuses to answer an item for which nothing is left.
    ///
    /// # Errors
    /// `too-large`.
    pub(crate) fn admit(&self, subject: &str) -> Result<(), Failure> {
        if self.is_spent() { Err(spent(subject)) } else { Ok(()) }
    }

    /// Takes all of an answer's bytes.
    ///
    /// # Errors
    /// `too-large`, when there are not as many.
    pub(crate) fn keep(&self, bytes: usize, subject: &str) -> Result<(), Failure> {
        if self.take(bytes) == bytes { Ok(()) } else { Err(spent(subject)) }
    }

    /// Cuts what an answer holds to what there is, and counts what is left out.
    pub(crate) fn cut(&self, data: &mut Vec<u8>, dropped: &mut u32) {
        let kept = self.take(data.len());
        *dropped = dropped.saturating_add(u32::try_from(data.len() - kept).unwrap_or(u32::MAX));
        data.truncate(kept);
    }

    /// Whether nothing more may be kept.
    #[must_use]
    pub(crate) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Why an item is not answered for which nothing is left.
pub(crate) fn spent(subject: &str) -> Failure {
    let message = format!("the answers of the call hold {} MiB already; ask for fewer at a time", MOST_DATA >> 20);
    failure::too_large(subject, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_given_than_there_is() {
        let budget = Budget::default();
        let shared = budget.clone();
        assert_eq!(shared.take(MOST_DATA - 1), MOST_DATA - 1);
        assert_eq!((budget.take(5), budget.take(5), shared.is_spent()), (1, 0, true));
    }
}
