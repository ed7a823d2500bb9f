//! Ranges in host names: `node[1:3]`, `node[01:10:2]`, `rack[a:c]-[1:2]`.

/// More hosts than this are not made of one name.
pub(super) const MAX_HOSTS: usize = 100_000;

/// The names that a name with ranges means.
pub(super) fn expand(name: &str) -> Result<Vec<String>, String> {
    let mut names = vec![String::new()];
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('[') {
        let (range, tail) =
            after.split_once(']').ok_or_else(|| format!("the range in {name:?} is never closed by `]`"))?;
        let items = items(range).map_err(|reason| format!("range [{range}] in {name:?}: {reason}"))?;
        if names.len().saturating_mul(items.len()) > MAX_HOSTS {
            return Err(format!("{name:?} means more than {MAX_HOSTS} hosts"));
        }
        names = names.iter().flat_map(|name| items.iter().map(move |item| format!("{name}{before}{item}"))).collect();
        rest = tail;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

/// `host:22` and `[fe80::1]:22`; a range's colons do not count.
pub(super) fn split_port(name: &str) -> (&str, Option<u16>) {
    let mut depth = 0;
    let colons: Vec<usize> = name
        .char_indices()
        .filter(|(_, c)| {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            *c == ':' && depth == 0
        })
        .map(|(at, _)| at)
        .collect();
    if let [at] = colons.as_slice()
        && let Some((host, port)) = name.get(..*at).zip(name.get(at + 1..))
        && let Ok(port) = port.parse()
    {
        let is_v6 = host.starts_with('[') && host.ends_with(']') && host.matches(':').count() > 1;
        return (if is_v6 { host.trim_matches(['[', ']']) } else { host }, Some(port));
    }
    (name, None)
}

fn items(range: &str) -> Result<Vec<String>, String> {
    let (begin, end, step) = match range.split(':').collect::<Vec<_>>().as_slice() {
        [begin, end] => (*begin, *end, "1"),
        [begin, end, step] => (*begin, *end, *step),
        _ => return Err("a range is BEGIN:END or BEGIN:END:STEP".to_owned()),
    };
    let step: usize = step.parse().ok().filter(|step| *step > 0).ok_or("the step is a whole number from 1")?;
    let begin = if begin.is_empty() { "0" } else { begin };
    if end.is_empty() {
        return Err("the end is missing".to_owned());
    }
    if let (Some(first), Some(last)) = (letter(begin), letter(end)) {
        if first > last {
            return Err("the end comes before the beginning".to_owned());
        }
        return Ok((first..=last).step_by(step).map(|at| LETTERS[at..=at].to_owned()).collect());
    }
    let number = |text: &str| {
        Some(text)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse::<usize>().ok())
            .ok_or("both ends are numbers, or both are letters")
    };
    let (first, last) = (number(begin)?, number(end)?);
    if first > last {
        return Err("the end comes before the beginning".to_owned());
    }
    let width = if begin.len() > 1 && begin.starts_with('0') { begin.len() } else { 0 };
    if width > 0 && width != end.len() {
        return Err("with leading zeros both ends have as many digits".to_owned());
    }
    if (last - first) / step >= MAX_HOSTS {
        return Err(format!("more than {MAX_HOSTS} hosts"));
    }
    Ok((first..=last).step_by(step).map(|number| format!("{number:0width$}")).collect())
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn letter(text: &str) -> Option<usize> {
    let mut chars = text.chars();
    let letter = chars.next().filter(|_| chars.next().is_none())?;
    LETTERS.find(letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        let cases: [(&str, &[&str]); 8] = [
            ("node", &["node"]),
            ("node[1:3]", &["node1", "node2", "node3"]),
            ("n[08:10].x", &["n08.x", "n09.x", "n10.x"]),
            ("n[1:5:2]", &["n1", "n3", "n5"]),
            ("n[:1]", &["n0", "n1"]),
            ("r[a:b]-[1:2]", &["ra-1", "ra-2", "rb-1", "rb-2"]),
            ("n[y:B]", &["ny", "nz", "nA", "nB"]),
            ("n[3:3]", &["n3"]),
        ];
        for (name, wanted) in cases {
            assert_eq!(
                expand(name).as_deref(),
                Ok(wanted.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
                "{name}"
            );
        }
    }

    #[test]
    fn wrong_ranges_say_why() {
        let cases = [
            ("n[1:3", "never closed"),
            ("n[1]", "BEGIN:END"),
            ("n[1:]", "the end is missing"),
            ("n[3:1]", "before the beginning"),
            ("n[b:a]", "before the beginning"),
            ("n[1:a]", "both ends are numbers"),
            ("n[01:100]", "as many digits"),
            ("n[1:3:0]", "the step"),
            ("n[1:999999999999]", "more than 100000"),
            ("n[1:1000][1:1000]", "more than 100000"),
        ];
        for (name, wanted) in cases {
            let found = expand(name).unwrap_err();
            assert!(found.contains(wanted), "{name}: {found}");
        }
    }

    proptest! {
        #[test]
        fn as_many_names_as_the_range_has_numbers(first in 0usize..500, more in 0usize..500, step in 1usize..9) {
            let names = expand(&format!("n[{first}:{}:{step}]x", first + more)).map_err(TestCaseError::fail)?;
            prop_assert_eq!(names.len(), more / step + 1);
            prop_assert_eq!(&names[0], &format!("n{first}x"));
            prop_assert!(names.iter().all(|name| name.starts_with('n') && name.ends_with('x')));
        }

        #[test]
        fn padded_names_have_one_length(first in 0usize..99, more in 0usize..900) {
            let names = expand(&format!("n[{first:04}:{:04}]", first + more)).map_err(TestCaseError::fail)?;
            prop_assert!(names.iter().all(|name| name.len() == 5));
            prop_assert!(names.is_sorted());
        }

        #[test]
        fn no_name_panics(name in "[a-c0-9:\\[\\]é]{0,20}") {
            let _ = expand(&name);
        }
    }
}
