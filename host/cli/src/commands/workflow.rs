//! `runner workflow`: workflows as files.

mod check;
mod graph;
mod schema;

use clap::{Args, Subcommand};

use crate::args::Common;
use crate::exit::Exit;

/// Check and draw workflows
#[derive(Debug, Args)]
pub(crate) struct Workflow {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Graph(graph::Graph),
    Schema(schema::SchemaOf),
}

impl Workflow {
    pub(crate) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        match &self.command {
            Command::Check(check) => check.carry_out(common),
            Command::Graph(graph) => graph.carry_out(),
            Command::Schema(schema) => schema.carry_out(),
        }
    }
}
