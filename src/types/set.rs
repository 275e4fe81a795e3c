//! Sets.

use super::{DataType, Value};
use crate::ds::listpack::Listpack;

/// A set.
#[derive(Debug, Clone)]
pub struct Set(Box<Listpack>);

impl DataType for Set {
    const NAME: &'static str = "set";

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Set(it) => Some(it),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Set(it) => Some(it),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Set(self)
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
