//! What the lab is made of, built from its sources and kept in the user's cache: the file system of a host, a package
//! repository with two versions of everything, and the images of what runs in the cluster.
//!
//! A part lies in a folder named by the hash of what it is made from, so a part of a changed recipe is another part and
//! a fresh checkout finds what an earlier one built.

mod archive;
mod assembly;
mod debian;
mod golang;
mod images;
mod packages;
mod prerequisites;
mod repository;
mod store;

pub(crate) use assembly::{Parts, ensure, ensure_host, obstacles};

/// Where progress is told to people.
pub(crate) type Say<'a> = &'a (dyn Fn(&str) + Sync);
