//! Templates of arguments and URLs, and globs.

use std::collections::BTreeMap;

use serde_json::Value;

/// Whether `*` in the pattern can stand for what makes it the text.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What captures hold.
pub(crate) type Captures = BTreeMap<String, Value>;

/// Matches arguments with a template.
pub(crate) fn arguments(template: &[String], argv: &[String]) -> Option<Captures> {
    let (program, rest) = argv.split_first()?;
    let (wanted, templates) = template.split_first()?;
    let program = match wanted.contains('/') {
        true => program.as_str(),
        false => program.rsplit('/').next().unwrap_or(program),
    };
    let mut captures = Captures::new();
    let matched = token(wanted, program, &mut captures) && tokens(templates, rest, &mut captures);
    matched.then_some(captures)
}

fn tokens(templates: &[String], argv: &[String], captures: &mut Captures) -> bool {
    let Some((first, templates)) = templates.split_first() else {
        return argv.is_empty();
    };
    let any = match first.as_str() {
        "**" => Some(None),
        named => named.strip_prefix('{').and_then(|name| name.strip_suffix("...}")).map(Some),
    };
    if let Some(name) = any {
        for count in 0..=argv.len() {
            let mut attempt = captures.clone();
            if tokens(templates, &argv[count..], &mut attempt) {
                *captures = attempt;
                if let Some(name) = name {
                    captures.insert(name.to_owned(), Value::from(argv[..count].to_vec()));
                }
                return true;
            }
        }
        return false;
    }
    let Some((argument, argv)) = argv.split_first() else {
        return false;
    };
    token(first, argument, captures) && tokens(templates, argv, captures)
}

/// One argument: `{name}` captures anything, `*` stands for anything.
fn token(template: &str, text: &str, captures: &mut Captures) -> bool {
    pieces(template, text, captures, |_, _| true)
}

/// Matches a URL with a template.
pub(crate) fn url(template: &str, url: &str) -> Option<Captures> {
    let mut captures = Captures::new();
    pieces(template, url, &mut captures, |wildcard, found| match wildcard {
        "**" => true,
        "*" => !found.contains('/'),
        _ => !found.is_empty() && !found.contains(['/', '?', '&', '#', ':']),
    })
    .then_some(captures)
}

/// Matches text with a template of literal pieces, `{name}`, `*` and `**`; `may` says what a wildcard may stand for.
fn pieces(template: &str, text: &str, captures: &mut Captures, may: fn(wildcard: &str, found: &str) -> bool) -> bool {
    let Some(start) = template.find(['{', '*']) else {
        return template == text;
    };
    let (literal, rest) = template.split_at(start);
    let Some(text) = text.strip_prefix(literal) else {
        return false;
    };
    let length = match rest.find('}') {
        Some(end) if rest.starts_with('{') => end + 1,
        None if rest.starts_with('{') => return template == text,
        _ if rest.starts_with("**") => 2,
        _ => 1,
    };
    let (wildcard, rest) = rest.split_at(length);
    // The shortest that fits, so that a query's `&` ends a capture and `=` splits at the first.
    for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let (found, after) = text.split_at(end);
        if !may(wildcard, found) {
            continue;
        }
        let mut attempt = captures.clone();
        if pieces(rest, after, &mut attempt, may) {
            *captures = attempt;
            if let Some(name) = wildcard.strip_prefix('{').and_then(|n| n.strip_suffix('}')) {
                captures.insert(name.to_owned(), Value::from(found));
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn captured(template: &str, argv: &str) -> Option<String> {
        let captures = arguments(&words(template), &words(argv))?;
        Some(serde_json::to_string(&captures).unwrap_or_default())
    }

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("node-*", "node-1", true),
            ("*-1", "node-1", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn argument_templates() {
        let members = "etcdctl ** member list **";
        assert!(captured(members, "etcdctl member list").is_some());
        assert!(captured(members, "/usr/bin/etcdctl --endpoints=x member list -w json").is_some());
        assert!(captured(members, "etcdctl endpoint status").is_none());
        assert_eq!(
            captured("x --a={a} {b} {rest...}", "x --a=1=2 3 4 5").as_deref(),
            Some(r#"{"a":"1=2","b":"3","rest":["4","5"]}"#)
        );
        assert!(captured("/bin/x", "x").is_none());
        assert!(captured("x {a", "x {a").is_some());
    }

    #[test]
    fn url_templates() {
        let host = url("http://{host}:2379/health", "http://10.0.0.1:2379/health");
        assert_eq!(host.and_then(|mut c| c.remove("host")), Some("10.0.0.1".into()));
        assert!(url("http://{host}/a", "http://x/b/a").is_none());
        assert!(url("http://*/**", "http://x/b/a?c=d").is_some());
        let query = url("http://x/q?a={a}&b={b}", "http://x/q?a=1&b=2");
        assert_eq!(query.and_then(|mut c| c.remove("a")), Some("1".into()));
    }

    proptest! {
        #[test]
        fn no_template_panics(template in "[{}*a/.]{0,12}", text in "[a/é{}]{0,12}") {
            let _ = url(&template, &text);
            let _ = arguments(std::slice::from_ref(&template), std::slice::from_ref(&text));
            let _ = glob(&template, &text);
        }
    }
}
