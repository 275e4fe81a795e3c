//! Sets against a plain model, and their encodings.
