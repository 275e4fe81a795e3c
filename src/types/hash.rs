//! Hashes.

use super::{DataType, Value};
use crate::ds::listpack::Listpack;

/// A hash.
#[derive(Debug, Clone)]
pub struct Hash(Box<Listpack>);

impl DataType for Hash {
    const NAME: &'static str = "hash";

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Hash(it) => Some(it),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Hash(it) => Some(it),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Hash(self)
    }

    fn encoding(&self) -> &'static str {
        "listpack"
    }

    fn heap_size(&self) -> usize {
        self.0.capacity()
    }

    fn is_vanished(&self) -> bool {
        self.0.is_empty()
    }
}
