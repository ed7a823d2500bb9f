//! Rust files, cut into what is code and what is not.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace::{cargo, output, root};

/// A Rust file.
pub(crate) struct Source {
    /// Path from the root of the checkout, with `/`.
    pub(crate) path: String,
    /// Its lines as written.
    pub(crate) lines: Vec<String>,
    /// The same without comments and without what strings hold.
    pub(crate) code: Vec<String>,
    /// Line (from 1) and content of each string.
    pub(crate) strings: Vec<(usize, String)>,
    /// First line of the module of tests; none: no such module, or the whole file is one (then 1).
    pub(crate) tests_from: Option<usize>,
}

impl Source {
    /// Cuts a text.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, strings) = cut(text);
        let code: Vec<String> = code.lines().map(str::to_owned).collect();
        let whole = path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("tests/");
        let module = code.iter().position(|line| line.trim() == "#[cfg(test)]").filter(|at| {
            code.get(at + 1)
                .is_some_and(|next| next.split_whitespace().any(|word| word == "mod") && next.ends_with('{'))
        });
        Self {
            path: path.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            code,
            strings,
            tests_from: if whole { Some(1) } else { module.map(|at| at + 1) },
        }
    }

    /// Lines of code outside tests, with their numbers.
    pub(crate) fn product_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.tests_from.unwrap_or(usize::MAX);
        self.code.iter().enumerate().map(|(at, line)| (at + 1, line.as_str())).take_while(move |(line, _)| *line < end)
    }

    /// Strings outside tests, with their lines.
    pub(crate) fn product_strings(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.tests_from.unwrap_or(usize::MAX);
        self.strings.iter().map(|(line, text)| (*line, text.as_str())).filter(move |(line, _)| *line < end)
    }

    /// Whether the path is one of these, or below one that ends with `/`.
    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }
}

/// All Rust files of the workspace's packages, generated ones excepted.
pub(crate) fn all() -> Result<Vec<Source>> {
    let metadata = output(&mut cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    let mut folders: Vec<_> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|package| package["manifest_path"].as_str())
        .filter_map(|path| std::path::Path::new(path).parent())
        .map(ToOwned::to_owned)
        .collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                let skipped = path.ends_with("target") || path.join("Cargo.toml").is_file();
                if !skipped {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let name = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                sources.push(Source::new(&name, &text));
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources.dedup_by(|one, other| one.path == other.path);
    Ok(sources)
}

/// The text without comments and contents of strings, line by line as before; and each string with its line.
fn cut(text: &str) -> (String, Vec<(usize, String)>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut strings) = (String::with_capacity(text.len()), Vec::new());
    let (mut at, mut line) = (0, 1);
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c));
    while let Some(&c) = chars.get(at) {
        if starts(at, "//") {
            while chars.get(at).is_some_and(|c| *c != '\n') {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            while at < chars.len() {
                if starts(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if starts(at, "*/") {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        break;
                    }
                } else {
                    newline(chars[at], &mut code, &mut line);
                    at += 1;
                }
            }
        } else if let Some(hashes) = raw_string(&chars, at) {
            let begun = line;
            at += hashes + 2;
            let mut content = String::new();
            while at < chars.len() {
                let closes = chars[at] == '"' && (1..=hashes).all(|n| chars.get(at + n) == Some(&'#'));
                if closes {
                    at += hashes + 1;
                    break;
                }
                content.push(chars[at]);
                newline(chars[at], &mut code, &mut line);
                at += 1;
            }
            code.push_str("\"\"");
            strings.push((begun, content));
        } else if c == '"' {
            let begun = line;
            at += 1;
            let mut content = String::new();
            while let Some(&c) = chars.get(at) {
                at += 1;
                match c {
                    '"' => break,
                    '\\' => {
                        if let Some(&escaped) = chars.get(at) {
                            newline(escaped, &mut code, &mut line);
                            content.push(escaped);
                            at += 1;
                        }
                    }
                    c => {
                        newline(c, &mut code, &mut line);
                        content.push(c);
                    }
                }
            }
            code.push_str("\"\"");
            strings.push((begun, content));
        } else if c == '\'' && is_char(&chars, at) {
            at += if chars.get(at + 1) == Some(&'\\') { 4 } else { 3 };
            while chars.get(at - 1).is_some_and(|c| *c != '\'') {
                at += 1;
            }
            code.push_str("' '");
        } else {
            if c == '\n' {
                line += 1;
            }
            code.push(c);
            at += 1;
        }
    }
    (code, strings)
}

/// Keeps line numbers right within what is left out.
fn newline(c: char, code: &mut String, line: &mut usize) {
    if c == '\n' {
        code.push('\n');
        *line += 1;
    }
}

/// How many `#` a raw string that begins here has.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    if chars.get(at) != Some(&'r')
        || at.checked_sub(1).and_then(|before| chars.get(before)).is_some_and(|c| word(c) && *c != 'b')
    {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// A character, not a lifetime.
fn is_char(chars: &[char], at: usize) -> bool {
    match chars.get(at + 1) {
        Some('\\') => true,
        Some(_) => chars.get(at + 2) == Some(&'\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let source = Source::new(
            "a/src/x.rs",
            "let a = \"println!()\"; // unsafe\nlet b = r#\"x\ny\"#; /* dbg!() */ f('\"', 'a');\nend",
        );
        assert_eq!(source.code, ["let a = \"\"; ", "let b = ", "\"\";  f(' ', ' ');", "end"]);
        assert_eq!(source.strings, [(1, "println!()".to_owned()), (2, "x\ny".to_owned())]);
    }

    #[test]
    fn lifetimes_and_escapes_do_not_open_a_string() {
        let source = Source::new("a/src/x.rs", "fn f<'a>(x: &'a str) -> char { '\\'' }\nlet s = \"a\\\"b\";");
        assert_eq!(source.code[0], "fn f<'a>(x: &'a str) -> char { ' ' }");
        assert_eq!(source.strings, [(2, "a\"b".to_owned())]);
    }

    #[test]
    fn tests_are_told_from_the_product() {
        let source = Source::new("a/src/x.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}");
        assert_eq!(source.product_code().count(), 1);
        assert_eq!(Source::new("a/src/x/tests.rs", "fn f() {}").product_code().count(), 0);
    }
}
