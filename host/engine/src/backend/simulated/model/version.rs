//! Versions as Debian's packages write them (deb-version(7)).

use std::cmp::Ordering;

/// Compares two versions.
#[must_use]
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    a.0.cmp(&b.0).then_with(|| piecewise(a.1, b.1)).then_with(|| piecewise(a.2, b.2))
}

/// The version that the component itself knows: no epoch, no revision.
#[must_use]
pub(crate) fn upstream(version: &str) -> &str {
    let upstream = parts(version).1;
    // Debian's own marks on the upstream part: `1.6.20~ds1`, `20.10.24+dfsg1`.
    let end =
        ["~ds", "+ds", "~dfsg", "+dfsg"].iter().filter_map(|mark| upstream.find(mark)).min().unwrap_or(upstream.len());
    &upstream[..end]
}

/// `1.33` of `1.33.13`.
#[must_use]
pub(crate) fn minor(version: &str) -> String {
    version.trim_start_matches('v').split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Epoch, upstream part and revision.
fn parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    match rest.rsplit_once('-') {
        Some((upstream, revision)) => (epoch, upstream, revision),
        None => (epoch, rest, ""),
    }
}

/// Letters before everything else, `~` before even the end.
fn weight(c: Option<u8>) -> i32 {
    match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_digit() => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(c),
        Some(c) => i32::from(c) + 256,
    }
}

fn piecewise(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        loop {
            let digit = |s: &[u8]| s.first().is_none_or(u8::is_ascii_digit);
            if digit(a) && digit(b) {
                break;
            }
            let order = weight(a.first().copied()).cmp(&weight(b.first().copied()));
            if order != Ordering::Equal {
                return order;
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        if a.is_empty() && b.is_empty() {
            return Ordering::Equal;
        }
        let (x, rest_a) = number(a);
        let (y, rest_b) = number(b);
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// Digits without leading zeroes, and what follows them.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeroes = digits.iter().take_while(|c| **c == b'0').count();
    (&digits[zeroes..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_order_of_debian() {
        let sorted = [
            "0.9~rc1",
            "0.9",
            "0.9-1",
            "0.9.0",
            "0.10",
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-2",
            "1.0-10",
            "1.0a",
            "1.0+dfsg",
            "1.6.20~ds1-1+deb12u1",
            "1.33.13-1",
            "1.34.4-1",
            "1:0.1",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare("1.0", "1.00"), Ordering::Equal);
    }

    #[test]
    fn what_the_component_knows() {
        assert_eq!(upstream("1:1.33.13-1"), "1.33.13");
        assert_eq!(upstream("1.6.20~ds1-1+deb12u1"), "1.6.20");
        assert_eq!(upstream("20.10.24+dfsg1-1+b3"), "20.10.24");
        assert_eq!(upstream("3.5"), "3.5");
        assert_eq!(minor("v1.33.13"), "1.33");
    }

    proptest! {
        #[test]
        fn the_order_is_one(a in "[0-9a~+.:-]{0,8}", b in "[0-9a~+.:-]{0,8}", c in "[0-9a~+.:-]{0,8}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(&a, &c), Ordering::Greater);
            }
        }
    }
}
