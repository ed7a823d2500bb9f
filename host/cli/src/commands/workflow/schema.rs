//! `runner workflow schema`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use runner_types::{did_you_mean, schemas};
use serde_json::Value;

use crate::error::Problem;
use crate::exit::Exit;
use crate::out;

/// Print or write the JSON Schemas of the files that people write
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner workflow schema                                print that of workflows
  runner workflow schema policy                         print another one
  runner workflow schema --write workflows/schema       write all of them for editors")]
pub(super) struct SchemaOf {
    /// Kind of file: workflow, inventory, settings, policy, manifest, releases, platform, simulated, faults
    #[arg(default_value = "workflow")]
    kind: String,
    /// Write all of them to this directory
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

impl SchemaOf {
    pub(super) fn carry_out(&self) -> anyhow::Result<Exit> {
        let schemas = schemas();
        if let Some(directory) = &self.write {
            write(directory, &schemas)?;
            return Ok(Exit::Succeeded);
        }
        let Some((_, schema)) = schemas.iter().find(|(name, _)| *name == self.kind) else {
            let names: Vec<&str> = schemas.iter().map(|(name, _)| *name).collect();
            let near = did_you_mean(&self.kind, names.iter().copied());
            return Err(Problem::usage(format!("there is no schema {:?}{near}", self.kind))
                .hint(format!("there are {}", names.join(", ")))
                .into());
        };
        out::json(schema)?;
        Ok(Exit::Succeeded)
    }
}

fn write(directory: &Path, schemas: &[(&str, Value)]) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, schema) in schemas {
        let path = directory.join(format!("{name}.schema.json"));
        let mut text = serde_json::to_string_pretty(schema)?;
        text.push('\n');
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        out::stderr(&format!("{}\n", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("schema");
        write(&directory, &schemas()).unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), schemas().len());
        let text = fs::read_to_string(directory.join("workflow.schema.json")).unwrap();
        assert!(text.ends_with("}\n") && text.contains("\"$schema\""));
    }

    #[test]
    fn the_help_names_every_kind() {
        use clap::CommandFactory as _;
        let help = crate::args::Cli::command()
            .find_subcommand_mut("workflow")
            .and_then(|workflow| workflow.find_subcommand_mut("schema"))
            .map(|schema| schema.render_long_help().to_string())
            .unwrap();
        for (name, _) in schemas() {
            assert!(help.contains(name), "{name}");
        }
    }
}
