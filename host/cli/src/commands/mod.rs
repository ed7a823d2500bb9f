//! The commands, one file each.

pub(crate) mod backups;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod inventory;
pub(crate) mod platform;
pub(crate) mod plugin;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod verify;
pub(crate) mod versions;
pub(crate) mod workflow;
