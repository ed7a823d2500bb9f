//! Texts with places in them.

use anyhow::{Result, bail};

/// Puts values in the places of a text, each `@NAME@`; a place without a value is an error.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("@{name}@"), value);
    }
    if let Some(place) = place(&filled) {
        bail!("a text of the lab has no value for {place}");
    }
    Ok(filled)
}

/// The first place that is left.
fn place(text: &str) -> Option<&str> {
    text.match_indices('@').find_map(|(at, _)| {
        let rest = &text[at + 1..];
        let end = rest.find(|c: char| !c.is_ascii_uppercase())?;
        (end > 0 && rest[end..].starts_with('@')).then(|| &text[at..at + end + 2])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_gets_a_value() {
        assert_eq!(fill("@USER@@main @A@", &[("USER", "me"), ("A", "b")]).unwrap(), "me@main b");
        let error = fill("a @B@ c", &[]).unwrap_err().to_string();
        assert!(error.contains("@B@"), "{error}");
        assert!(fill("someone@example.com @ B@ @b@", &[]).is_ok());
    }
}
