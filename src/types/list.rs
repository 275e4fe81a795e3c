//! Lists.

use super::{DataType, Value};
use crate::ds::listpack::Listpack;

/// A list.
#[derive(Debug, Clone)]
pub struct List(Box<Listpack>);

impl DataType for List {
    const NAME: &'static str = "list";

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::List(it) => Some(it),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::List(it) => Some(it),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::List(Box::new(self))
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
