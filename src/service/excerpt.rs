//! What a log keeps of something that may be long.

/// The first `most` bytes, and how many more there were.
///
/// ```
/// # use redkeep::service::excerpt::excerpt;
/// assert_eq!(excerpt(b"short", 9), b"short");
/// assert_eq!(excerpt(b"a long one", 6), b"a long... (4 more bytes)");
/// ```
pub fn excerpt(bytes: &[u8], most: usize) -> Vec<u8> {
    match bytes.split_at_checked(most) {
        Some((head, rest @ [_, ..])) => {
            let mut out = head.to_vec();
            out.extend(format!("... ({} more bytes)", rest.len()).bytes());
            out
        }
        _ => bytes.to_vec(),
    }
}
