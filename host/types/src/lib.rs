//! Types of runner's files and records: what people write (workflow, inventory, policy, releases, manifest) and what
//! runner writes (run header, journal, backup set, report, event).
//!
//! Reading a file goes through [`load`], which names the line, the column and the JSON path of everything that is wrong
//! with it. Nothing here does input or output except the reader of files and the directory reader of Ansible inventories.

mod backup_set;
mod digest;
mod duration;
mod event;
mod expression;
mod file;
mod inventory;
mod journal;
mod load;
mod manifest;
mod operation;
mod plugin_lock;
mod policy;
mod releases;
mod report;
mod run;
mod schema;
pub mod simulated;
mod timestamp;
mod version;
mod workflow;
mod yaml;

pub use backup_set::*;
pub use digest::*;
pub use duration::*;
pub use event::*;
pub use expression::*;
pub use file::*;
pub use inventory::*;
pub use journal::*;
pub use load::*;
pub use manifest::*;
pub use operation::*;
pub use plugin_lock::*;
pub use policy::*;
pub use releases::*;
pub use report::*;
pub use run::*;
pub use schema::*;
pub use timestamp::*;
pub use version::*;
pub use workflow::*;
