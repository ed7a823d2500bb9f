//! JSON paths.

use std::fmt;

/// Where something stands within a JSON value: `$.steps[2].needs[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct JsonPath(Vec<PathItem>);

/// One step of a JSON path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathItem {
    /// Into an object.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl JsonPath {
    /// The whole value.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// From its items in order.
    #[must_use]
    pub const fn from_items(items: Vec<PathItem>) -> Self {
        Self(items)
    }

    /// Into an object.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(PathItem::Key(key.to_owned()))
    }

    /// Into a list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(PathItem::Index(index))
    }

    /// Its items in order.
    #[must_use]
    pub fn items(&self) -> &[PathItem] {
        &self.0
    }

    /// This path, then that one.
    #[must_use]
    pub fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }

    fn with(&self, item: PathItem) -> Self {
        let mut items = Vec::with_capacity(self.0.len() + 1);
        items.extend_from_slice(&self.0);
        items.push(item);
        Self(items)
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for item in &self.0 {
            match item {
                PathItem::Index(index) => write!(f, "[{index}]")?,
                PathItem::Key(key) if is_plain(key) => write!(f, ".{key}")?,
                PathItem::Key(key) => write!(f, "[{}]", serde_json::Value::from(key.as_str()))?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_so_that_it_can_be_typed() {
        let path = JsonPath::root().key("steps").index(2).key("on-failure").key("a \"b\"");
        assert_eq!(path.to_string(), r#"$.steps[2].on-failure["a \"b\""]"#);
        assert_eq!(JsonPath::root().to_string(), "$");
    }
}
