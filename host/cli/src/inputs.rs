//! Values of `-e`.

use anyhow::Context as _;
use runner_types::{Extra, Source, text_of};

use crate::args::Inputs;
use crate::error::Problem;

impl Inputs {
    /// Reads them in order, the files of `@FILE` too.
    ///
    /// # Errors
    /// When one is of no known form, or its file cannot be read.
    pub(crate) fn read(&self) -> anyhow::Result<Vec<Extra>> {
        self.extra.iter().map(|argument| read(argument)).collect()
    }
}

fn read(argument: &str) -> anyhow::Result<Extra> {
    match Extra::parse(argument)? {
        Extra::File(path) => {
            let bytes = std::fs::read(&path)
                .map_err(|error| Problem::usage(format!("{path}: {error}")))
                .with_context(|| format!("cannot read -e @{path}"))?;
            Ok(Extra::Json(Source::parse(text_of(&bytes, &path)?, &path)?))
        }
        given @ (Extra::Pairs(_) | Extra::Json(_)) => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_their_turn() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("values.json");
        std::fs::write(&file, "{\"a\": 1}").unwrap();
        let inputs = Inputs { extra: vec!["b=2".to_owned(), format!("@{}", file.display())] };
        let read = inputs.read().unwrap();
        assert!(matches!(&read[0], Extra::Pairs(pairs) if pairs.len() == 1));
        assert!(matches!(&read[1], Extra::Json(source) if source.value()["a"] == 1));
    }

    #[test]
    fn a_file_that_is_not_there_is_wrong_usage() {
        let error = Inputs { extra: vec!["@/no/such".to_owned()] }.read().unwrap_err();
        let (text, exit) = crate::error::tell(&error);
        assert_eq!(exit, crate::exit::Exit::Usage);
        assert!(text.contains("/no/such"), "{text}");
    }
}
