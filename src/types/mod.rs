//! The value types and their encodings.
