//! Sorted sets.

use super::{DataType, Value};
use crate::ds::listpack::Listpack;

/// A zset.
#[derive(Debug, Clone)]
pub struct ZSet(Box<Listpack>);

impl DataType for ZSet {
    const NAME: &'static str = "zset";

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::ZSet(it) => Some(it),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::ZSet(it) => Some(it),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::ZSet(self)
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
