//! The name that was probably meant.

/// The candidate that a mistyped name was probably meant to be, when one is near enough.
pub fn nearest<'a, S: AsRef<str> + ?Sized + 'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a S>,
) -> Option<&'a str> {
    let plain = |text: &str| {
        // Longer texts are no mistyped names, and distances cost their lengths' product.
        let short: String = text.chars().take(100).collect();
        short.to_lowercase().replace(['_', ' '], "-")
    };
    let wanted = plain(name);
    let limit = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let candidate = candidate.as_ref();
            (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "x"?`, or nothing.
pub fn did_you_mean<'a, S: AsRef<str> + ?Sized + 'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a S>,
) -> String {
    nearest(name, candidates).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let names = ["flannel", "ingress", "metrics", "on-failure"];
        assert_eq!(nearest("flanel", names), Some("flannel"));
        assert_eq!(nearest("On_Failure", names), Some("on-failure"));
        assert_eq!(nearest("metrisc", names), Some("metrics"));
        assert_eq!(nearest("etcd", names), None);
        assert_eq!(did_you_mean("ingres", names), "; did you mean \"ingress\"?");
        assert_eq!(did_you_mean("x", names), "");
    }
}
