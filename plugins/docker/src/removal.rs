//! Removal of all of Docker's containers and images: only where the workflow declares it and the operator confirms it.

use std::collections::BTreeSet;

use runner_plugin_sdk::api::operator::{self, Confirmation, Question};
use runner_plugin_sdk::{Command, Failure, FailureKind, Problem, declined, failure};

use crate::containers::{self, Container, Which};

/// Prompt that confirms it.
const PROMPT: &str = "remove-containers-and-images";

/// What would be removed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Removal {
    containers: Vec<Container>,
    images: Vec<String>,
}

impl Removal {
    /// Whether there is nothing to remove.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.images.is_empty()
    }

    /// What a yes destroys, for people.
    pub(crate) fn describe(&self, host: &str) -> String {
        let names: Vec<&str> = self.containers.iter().map(Container::name).collect();
        format!(
            "on host {host} {} containers with all that is in them ({}) and {} images",
            names.len(),
            if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            self.images.len(),
        )
    }
}

/// What a host whose Docker runs has.
pub(crate) fn look(host: &str) -> Result<Removal, Failure> {
    Ok(Removal { containers: containers::list(host, Which::All)?, images: images_of(host)? })
}

fn images_of(host: &str) -> Result<Vec<String>, Failure> {
    let text = Command::read(host, ["docker", "image", "ls", "--quiet", "--no-trunc"])
        .reads(["docker:images", "unit:docker.service"])
        .output_limit(1 << 20)
        .text()?;
    // An image with several tags is listed several times.
    let images: BTreeSet<&str> = text.lines().map(str::trim).filter(|id| !id.is_empty()).collect();
    Ok(images.into_iter().map(str::to_owned).collect())
}

/// Asks the operator.
pub(crate) fn confirm(host: &str, removal: &Removal) -> Result<(), Problem> {
    let destroys = removal.describe(host);
    let confirmation = Confirmation {
        question: Question {
            key: PROMPT.to_owned(),
            message: format!("Remove {destroys}?"),
            why: format!(
                "The step declares that Docker's containers and images are removed on host {host}. Yes: they are gone; \
                 what Kubernetes or somebody else needs has to be made or fetched anew. No: nothing is changed."
            ),
            fact: false,
        },
        default: false,
        destroys,
    };
    if operator::confirm(&confirmation)? {
        return Ok(());
    }
    Err(declined(format!("removing Docker's containers and images on host {host} was declined")))
}

/// Removes them. An image on which another one was built can only go after it, hence several passes.
pub(crate) fn carry_out(host: &str, removal: &Removal) -> Result<(), Failure> {
    let ids = removal.containers.iter().map(|container| container.id.as_str());
    destroy(host, ["docker", "rm", "--force"], ids, "docker:containers")?;
    let mut images = removal.images.clone();
    while !images.is_empty() {
        let ids = images.iter().map(String::as_str);
        destroy(host, ["docker", "rmi", "--force"], ids, "docker:images")?;
        let left = images_of(host)?;
        if left.len() >= images.len() {
            let kind = FailureKind::Other("images-left".into());
            let message = format!("Docker does not remove images {}", left.join(", "));
            return Err(failure(kind, host, message));
        }
        images = left;
    }
    Ok(())
}

fn destroy<'a>(
    host: &str,
    argv: [&'a str; 3],
    ids: impl Iterator<Item = &'a str>,
    subject: &str,
) -> Result<(), Failure> {
    let ids: Vec<&str> = ids.collect();
    if ids.is_empty() {
        return Ok(());
    }
    Command::write(host, argv.into_iter().chain(ids))
        .destructive()
        .accept([1])
        .seconds(600)
        .writes([subject])
        .answers("")
        .run()?;
    Ok(())
}
