//! Glob patterns: `*` within a segment, `**` across segments.

/// Whether a glob covers a text. `*` stands for any characters but the separator, `**` for any characters.
#[must_use]
pub fn glob_matches(pattern: &str, text: &str, separator: Option<char>) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let tokens = tokens(&pattern);
    // Row by row over the tokens: `reach[i]` says whether the tokens so far cover the first `i` characters.
    let mut reach = vec![false; text.len() + 1];
    reach[0] = true;
    let mut next = vec![false; text.len() + 1];
    for token in tokens {
        next.fill(false);
        match token {
            Token::Literal(wanted) => {
                for (at, c) in text.iter().enumerate() {
                    next[at + 1] = reach[at] && *c == wanted;
                }
            }
            Token::Segment | Token::Everything => {
                let crosses = token == Token::Everything;
                let mut open = false;
                for at in 0..=text.len() {
                    if at > 0 && !crosses && Some(text[at - 1]) == separator {
                        open = false;
                    }
                    open |= reach[at];
                    next[at] = open;
                }
            }
        }
        std::mem::swap(&mut reach, &mut next);
    }
    reach.last().copied().unwrap_or(false)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    Segment,
    Everything,
}

fn tokens(pattern: &[char]) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut at = 0;
    while let Some(c) = pattern.get(at) {
        let stars = pattern[at..].iter().take_while(|c| **c == '*').count();
        match stars {
            0 => tokens.push(Token::Literal(*c)),
            1 => tokens.push(Token::Segment),
            _ => tokens.push(Token::Everything),
        }
        at += stars.max(1);
    }
    tokens
}

/// Whether a path pattern covers an absolute path. A path that is not in its plain form (`..`, `.`, `//`) is never
/// covered: it may name something else than it seems to.
#[must_use]
pub fn path_matches(pattern: &str, path: &str) -> bool {
    is_plain(path) && glob_matches(pattern, path, Some('/'))
}

fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    rest.is_empty() || rest.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Whether an argv template covers an argv. A token `*` is any one argument, a glob within a token any text there, a
/// last token `**` any further arguments. A glob within a token does not cover an argument that climbs with `..`.
#[must_use]
pub fn argv_matches(template: &[String], argv: &[String]) -> bool {
    let (tokens, open) = match template.split_last() {
        Some((last, tokens)) if last == "**" => (tokens, true),
        _ => (template, false),
    };
    let fits = if open { argv.len() >= tokens.len() } else { argv.len() == tokens.len() };
    fits && tokens.iter().zip(argv).all(|(token, argument)| match token.as_str() {
        "*" => true,
        token if token.contains('*') => !climbs(argument) && glob_matches(token, argument, None),
        token => token == argument,
    })
}

fn climbs(argument: &str) -> bool {
    argument.split(['/', '=', ',', ':']).any(|segment| segment == "..")
}
