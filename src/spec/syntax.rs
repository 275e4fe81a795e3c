//! The one-line argument syntax.
