//! Whether an instance is one to send clients to.

use super::{State, persist};

/// Why it is not, in words for an operator; None: it is.
pub fn why_not(state: &State) -> Option<String> {
    let sys = &state.sys;
    if sys.persist.loading.is_some() {
        return Some("loading the data set".into());
    }
    if sys.ending.is_some() {
        return Some("shutting down".into());
    }
    if let Some(up) = sys.repl.upstream.as_ref().filter(|up| !up.is_online()) {
        return Some(format!("the link to {}:{} is down", up.host, up.port));
    }
    // Writes are refused then, as clients are told (MISCONF).
    persist::refuses_writes(sys).map(|refused| refused.text().to_owned())
}
