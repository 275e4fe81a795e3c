//! The users that a configuration tells of, in its own lines or in a file of theirs.

use std::path::Path;

use super::open::OpenError;
use crate::exec::Handler;
use crate::service::acl::{FileFault, SetFault, Users};
use crate::service::config::Loaded;
use crate::spec::Registry;
use crate::util::system::reason;

const BOTH: &str = "Configuring Redkeep with users defined in the configuration file and at the same time setting an ACL \
    file path is invalid: it is likely to lead to mistakes and security holes. Define either an ACL file or users in the \
    configuration, but not both.";

/// All users at the start.
///
/// # Errors
/// What is wrong with a line or with the file.
pub(super) fn users(loaded: &Loaded, registry: &Registry<Handler>) -> Result<Users, OpenError> {
    let config = &loaded.config;
    let mut users = Users::default();
    users.all_channels = config.acl_pubsub_default == "allchannels";
    users.require(&config.requirepass);
    let mut seen: Vec<&[u8]> = Vec::new();
    for line in &loaded.users {
        let [_, name, rules @ ..] = line.words.as_slice() else {
            return Err(line.refused("wrong number of arguments".into()).into());
        };
        let refused = |word: &[u8], why: &str| {
            let word = String::from_utf8_lossy(word);
            line.refused(format!("Error in user declaration '{word}': {why}"))
        };
        if seen.contains(&name.as_slice()) {
            let why = "Duplicate user found. A user can only be defined once in config files";
            return Err(refused(name, why).into());
        }
        if name
            .iter()
            .any(|b| b.is_ascii_whitespace() || matches!(b, 0 | 11))
        {
            return Err(refused(name, "Spaces not allowed in ACL usernames").into());
        }
        seen.push(name);
        let rules: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
        let id = users
            .define(name, &rules, registry)
            .map_err(|fault| match fault {
                SetFault::Unmatched(start) => refused(&start, "Unmatched parenthesis in selector"),
                SetFault::Rule(rule, fault) => refused(&rule, &fault.to_string()),
            })?;
        if users.get(id).is_some_and(|user| !user.on) {
            tracing::info!(
                "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure this is not a \
                 configuration error.",
                String::from_utf8_lossy(name)
            );
        }
    }
    if !config.aclfile.is_empty() {
        if !loaded.users.is_empty() {
            return Err(OpenError::Users(BOTH.to_owned()));
        }
        from_file(&mut users, loaded, registry).map_err(|faults| {
            OpenError::Users(format!("Aborting startup because of ACL errors: {faults}"))
        })?;
    }
    Ok(users)
}

fn from_file(
    users: &mut Users,
    loaded: &Loaded,
    registry: &Registry<Handler>,
) -> Result<(), FileFault> {
    let name = &loaded.config.aclfile;
    let path = Path::new(&loaded.config.dir).join(name);
    let text = std::fs::read(path).map_err(|e| FileFault::unreadable(name, &reason(&e)))?;
    users.load(&text, name, registry).map(drop)
}
