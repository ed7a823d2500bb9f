//! Quantities: `250m`, `4Gi`, `2`.

/// A quantity in thousandths; what is no quantity counts as none.
pub(crate) fn milli(text: &str) -> u64 {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: f64 = match text.get(digits.len()..).unwrap_or_default() {
        "m" => 1.0,
        "" => 1e3,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "Ki" => 1024e3,
        "Mi" => 1024.0 * 1024e3,
        "Gi" => 1024.0 * 1024.0 * 1024e3,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024e3,
        _ => return 0,
    };
    let number: f64 = digits.parse().unwrap_or(0.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "negative and enormous quantities saturate"
    )]
    let milli = (number * factor).round() as u64;
    milli
}

/// A quantity of a JSON field, a string or a number, in thousandths.
pub(crate) fn milli_of(value: Option<&serde_json::Value>) -> u64 {
    match value {
        Some(serde_json::Value::String(text)) => milli(text),
        Some(serde_json::Value::Number(number)) => milli(&number.to_string()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        assert_eq!(milli("250m"), 250);
        assert_eq!(milli("2"), 2000);
        assert_eq!(milli("0.5"), 500);
        assert_eq!(milli("1Ki"), 1_024_000);
        assert_eq!(milli("nonsense"), 0);
        assert_eq!(milli("-1"), 0);
    }
}
