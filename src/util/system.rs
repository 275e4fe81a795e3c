//! What the operating system says.

use std::io;

/// What it said is wrong, without the number that std appends.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn numbers_are_left_out() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(reason(&full), "No space left on device");
        assert_eq!(reason(&io::Error::other("why")), "why");
    }
}
