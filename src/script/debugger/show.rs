//! Values and replies as the debugger shows them.

use mlua::Value;

use crate::resp::{Value as Reply, parse_reply};

/// How deep tables are shown.
const DEEPEST: usize = 7;

/// A value of Lua.
pub(in crate::script) fn value(value: &Value) -> String {
    nested(value, 0)
}

fn nested(value: &Value, depth: usize) -> String {
    match value {
        _ if depth == DEEPEST => "<max recursion level reached! Nested table?>".to_owned(),
        Value::Nil => "nil".to_owned(),
        Value::Boolean(yes) => yes.to_string(),
        Value::Integer(n) => n.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => quoted(&text.as_bytes()),
        Value::Table(table) => {
            let pairs = table.pairs::<Value, Value>().flatten();
            let (mut plain, mut full, mut is_list) = (Vec::new(), Vec::new(), true);
            for (next, (key, value)) in (1..).zip(pairs) {
                is_list &= key.as_i64() == Some(next);
                let shown = nested(&value, depth + 1);
                full.push(format!("[{}]={shown}", nested(&key, depth + 1)));
                plain.push(shown);
            }
            let parts = if is_list { plain } else { full };
            format!("{{{}}}", parts.join("; "))
        }
        other => format!("\"{}@{:p}\"", other.type_name(), other.to_pointer()),
    }
}

/// A reply, as it came.
pub(super) fn reply(bytes: &[u8]) -> String {
    match parse_reply(bytes) {
        Ok(Some((reply, _))) => shown(&reply),
        _ => String::new(),
    }
}

fn shown(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(shown).collect::<Vec<_>>().join(",");
    match reply {
        Reply::Null | Reply::NullArray => "NULL".to_owned(),
        Reply::Simple(text) => quoted(&[b"+", &text[..]].concat()),
        Reply::Error(text) => quoted(&[b"-", &text[..]].concat()),
        Reply::Int(n) => n.to_string(),
        Reply::Bulk(text) | Reply::BigNumber(text) | Reply::Verbatim(_, text) => quoted(text),
        Reply::Double(n) => n.to_string(),
        Reply::Bool(yes) => format!("#{yes}"),
        Reply::Array(items) | Reply::Push(items) => format!("[{}]", list(items)),
        Reply::Set(items) => format!("~({})", list(items)),
        Reply::Map(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(k, v)| format!("{} => {}", shown(k), shown(v)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        Reply::Attribute(_, value) => shown(value),
    }
}

/// In quotation marks, with what cannot be printed escaped.
fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}
