//! Inventories of Ansible, read as they are: INI, YAML, the output of `ansible-inventory --list`, with the variables in
//! `group_vars` and `host_vars` beside them and runner's own settings in a JSON file.

mod connection;
mod ini;
mod json;
mod literal;
mod ranges;
mod read;
mod tree;
mod vars;
mod yaml;

pub use read::{DiskFiles, Files, LoadedInventory, load_inventory};

#[cfg(test)]
mod tests;
