//! Values of `-e`.

use std::path::Path;

use anyhow::Context as _;
use indexmap::IndexMap;
use runner_types::{Extra, InputSpec, MAX_FILE_SIZE, Source, read_limited, text_of};
use serde_json::Value;

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

    /// The arguments that hold values of secret inputs, each with what may be shown in its place.
    pub(crate) fn concealed(&self, specs: &IndexMap<String, InputSpec>) -> Vec<(String, String)> {
        let shown = |argument: &String| Some((argument.clone(), concealed(argument, specs)?));
        self.extra.iter().filter_map(shown).collect()
    }
}

/// Stands for a value that is not shown.
const CONCEALED: &str = "…";

/// An argument without the values of secret inputs; none: it holds none.
fn concealed(argument: &str, specs: &IndexMap<String, InputSpec>) -> Option<String> {
    let is_secret = |name: &str| specs.get(name).is_some_and(|spec| spec.secret);
    match Extra::parse(argument).ok()? {
        Extra::Pairs(pairs) => pairs.iter().any(|(name, _)| is_secret(name)).then(|| {
            let shown = pairs.iter().map(|(name, value)| match is_secret(name) {
                true => format!("{name}={CONCEALED}"),
                false => format!("{name}={}", joined(value)),
            });
            shown.collect::<Vec<_>>().join(" ")
        }),
        Extra::Json(source) => {
            let Value::Object(mut members) = source.value() else {
                return None;
            };
            let mut any = false;
            for (_, value) in members.iter_mut().filter(|(name, _)| is_secret(name)) {
                *value = Value::from(CONCEALED);
                any = true;
            }
            any.then(|| Value::Object(members).to_string())
        }
        Extra::File(_) => None,
    }
}

/// A value that stays one word among several pairs.
fn joined(value: &str) -> String {
    if value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')) {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        value.to_owned()
    }
}

fn read(argument: &str) -> anyhow::Result<Extra> {
    match Extra::parse(argument)? {
        Extra::File(path) => {
            let bytes = read_limited(Path::new(&path), MAX_FILE_SIZE as u64)
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
    fn values_of_secret_inputs_are_concealed() {
        let specs: IndexMap<String, InputSpec> = serde_json::from_value(serde_json::json!({
            "pw": {"type": "string", "secret": true}, "a": {"type": "string"},
        }))
        .unwrap();
        let shown = |argument: &str| concealed(argument, &specs);
        assert_eq!(shown("pw=hunter2").as_deref(), Some("pw=…"));
        assert_eq!(shown("a='x y' pw=\"hunter 2\"").as_deref(), Some("a=\"x y\" pw=…"));
        assert_eq!(shown("{\"a\": 1, \"pw\": \"hunter2\"}").as_deref(), Some("{\"a\":1,\"pw\":\"…\"}"));
        assert_eq!((shown("a=1"), shown("@file"), shown("{\"a\": 1}")), (None, None, None));
    }

    #[test]
    fn a_file_that_never_ends_is_refused() {
        let error = Inputs { extra: vec!["@/dev/zero".to_owned()] }.read().unwrap_err();
        let (text, exit) = crate::error::tell(&error, &crate::args::Common::default());
        assert_eq!(exit, crate::exit::Exit::Usage);
        assert!(text.contains("/dev/zero: it is not a regular file"), "{text}");
    }

    #[test]
    fn a_file_that_is_not_there_is_wrong_usage() {
        let error = Inputs { extra: vec!["@/no/such".to_owned()] }.read().unwrap_err();
        let (text, exit) = crate::error::tell(&error, &crate::args::Common::default());
        assert_eq!(exit, crate::exit::Exit::Usage);
        assert!(text.contains("/no/such"), "{text}");
    }
}
