//! Paths that an earlier item of the same call changes the meaning of.
//!
//! All items of a call are judged before the first is performed. What one of them brings may hold symbolic links, so a
//! path at or below it would be followed to where nobody judged it.

use std::collections::HashSet;

use super::authorise::invalid;
use crate::capability::{Capable as _, Subject};
use crate::contract::{Failure, Function};

/// Refuses items, all at one place, with a path at or below one that an earlier of them brings something to or takes away.
pub(super) fn refuse_moved<F: Function>(
    items: &[F::Item],
    indices: &[usize],
    real: &[Vec<String>],
    verdicts: &mut [Result<(), Failure>],
) {
    let mut moved: HashSet<String> = HashSet::new();
    for index in indices {
        let (Some(item), Some(real), Some(verdict)) = (items.get(*index), real.get(*index), verdicts.get_mut(*index))
        else {
            continue;
        };
        let Ok(Subject::Paths(paths)) = item.subject() else {
            continue;
        };
        // As it is written, and where it is.
        let written: Vec<String> = paths.iter().map(|path| normal(path)).collect();
        if !moved.is_empty()
            && let Some(path) = written.iter().chain(real).find(|path| above(path).any(|path| moved.contains(path)))
        {
            let message =
                format!("{path} is at or below what an earlier item of the call moves; make a call of its own");
            *verdict = verdict.clone().and_then(|()| Err(invalid(item.label(), message)));
        }
        for paths in [&written, real] {
            moved.extend(paths.get(item.moves()).unwrap_or_default().iter().cloned());
        }
    }
}

/// A path without doubled or trailing slashes.
fn normal(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// The path and all directories that it is in.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| at.max(1)).chain([path.len()]).map(|end| &path[..end])
}
