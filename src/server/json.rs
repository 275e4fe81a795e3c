//! What `--json` prints: values, written in one line.

use std::fmt::{self, Write};

/// A value of JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    /// Written as null where it is no number.
    Real(f64),
    Text(String),
    List(Vec<Json>),
    /// In the order in which it was written.
    Object(Vec<(&'static str, Json)>),
    /// An object with names that come from elsewhere.
    Named(Vec<(String, Json)>),
}

impl Json {
    /// A text of each of these.
    pub(super) fn texts<T: ToString>(texts: impl IntoIterator<Item = T>) -> Self {
        texts
            .into_iter()
            .map(|text| text.to_string().into())
            .collect()
    }
}

impl FromIterator<Json> for Json {
    fn from_iter<I: IntoIterator<Item = Json>>(items: I) -> Self {
        Self::List(items.into_iter().collect())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Real(value) if value.is_finite() => write!(f, "{value}"),
            Self::Real(_) => f.write_str("null"),
            Self::Text(text) => write_text(f, text),
            Self::List(items) => {
                f.write_char('[')?;
                for (n, item) in items.iter().enumerate() {
                    f.write_str(if n > 0 { "," } else { "" })?;
                    item.fmt(f)?;
                }
                f.write_char(']')
            }
            Self::Object(fields) => write_fields(f, fields.iter().map(|(n, v)| (*n, v))),
            Self::Named(fields) => write_fields(f, fields.iter().map(|(n, v)| (n.as_str(), v))),
        }
    }
}

fn write_fields<'a>(
    f: &mut fmt::Formatter<'_>,
    fields: impl Iterator<Item = (&'a str, &'a Json)>,
) -> fmt::Result {
    f.write_char('{')?;
    for (n, (name, value)) in fields.enumerate() {
        f.write_str(if n > 0 { "," } else { "" })?;
        write_text(f, name)?;
        f.write_char(':')?;
        write!(f, "{value}")?;
    }
    f.write_char('}')
}

/// Writes a text with its quotes.
pub(super) fn write_text(f: &mut dyn Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_reader_reads_what_was_written() {
        let json = Json::Object(vec![
            ("text", "a \"b\" \\ \u{1} ä\r\n\t".into()),
            (
                "numbers",
                [1.5.into(), f64::NAN.into(), 7u64.into()]
                    .into_iter()
                    .collect(),
            ),
            ("none", Json::from(None::<bool>)),
            ("some", Json::from(Some(true))),
            ("empty", Json::texts([""; 0])),
            ("codes", Json::Named(vec![("a\"".to_owned(), 1u64.into())])),
        ]);
        let read: serde_json::Value = serde_json::from_str(&json.to_string()).unwrap();
        assert_eq!(
            read,
            serde_json::json!({
                "text": "a \"b\" \\ \u{1} ä\r\n\t", "numbers": [1.5, null, 7],
                "none": null, "some": true, "empty": [],
                "codes": { "a\"": 1 },
            })
        );
    }
}
