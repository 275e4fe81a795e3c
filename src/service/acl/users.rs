//! All users of an instance.

use std::collections::BTreeMap;

use slab::Slab;

use super::file::{self, FileFault};
use super::rule::SetFault;
use super::user::{Denied, User};
use crate::spec::{Argv, Entry, Registry};

/// Names a user. Numbers are used again; clients of a user who is gone are gone, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(usize);

/// Who one is without logging in. There always is this user.
pub const DEFAULT: UserId = UserId(0);

const DEFAULT_NAME: &[u8] = b"default";

/// The users, by name.
#[derive(Clone, Debug)]
pub struct Users {
    slab: Slab<User>,
    by_name: BTreeMap<Box<[u8]>, UserId>,
    /// There is one who may not do everything.
    limited: bool,
    /// What `requirepass` was when the default user was told.
    requirepass: Vec<u8>,
    /// `acl-pubsub-default`: new users may use every channel.
    pub all_channels: bool,
}

impl Default for Users {
    /// The default user, who may do everything and needs no password.
    fn default() -> Self {
        let mut users = Self {
            slab: Slab::new(),
            by_name: BTreeMap::new(),
            limited: false,
            requirepass: Vec::new(),
            all_channels: false,
        };
        users.put(unlimited());
        users
    }
}

fn unlimited() -> User {
    let mut user = User::new(DEFAULT_NAME, true);
    user.on = true;
    user.nopass = true;
    // Whatever commands there are: none is named.
    let none = Registry::<()>::new(&[]);
    for rule in [&b"+@all"[..], b"~*", b"&*"] {
        let applied = user.apply(rule, &none, true);
        debug_assert!(applied.is_ok());
    }
    user
}

impl Users {
    /// A user.
    #[inline]
    pub fn get(&self, id: UserId) -> Option<&User> {
        self.slab.get(id.0)
    }

    /// The number of a user.
    pub fn by_name(&self, name: &[u8]) -> Option<UserId> {
        self.by_name.get(name).copied()
    }

    /// A user by name.
    pub fn named(&self, name: &[u8]) -> Option<&User> {
        self.get(self.by_name(name)?)
    }

    /// All users, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (UserId, &User)> {
        self.by_name.values().map(|&id| (id, &self.slab[id.0]))
    }

    /// Whether one is the default user without a password.
    pub fn is_open(&self) -> bool {
        self.get(DEFAULT).is_some_and(User::is_open)
    }

    /// Whether the default user needs a password.
    pub fn needs_password(&self) -> bool {
        self.get(DEFAULT).is_none_or(|user| !user.nopass)
    }

    /// Puts a user in place of the one of that name, or beside the others.
    fn put(&mut self, user: User) -> UserId {
        let id = match self.by_name(&user.name) {
            Some(id) => id,
            None => {
                let id = UserId(self.slab.vacant_key());
                self.by_name.insert(user.name.clone(), id);
                self.slab.insert(User::new(b"", false));
                id
            }
        };
        if let Some(place) = self.slab.get_mut(id.0) {
            *place = user;
        }
        self.limited = self.slab.iter().any(|(_, user)| !user.is_unlimited());
        id
    }

    /// ACL SETUSER: makes or changes a user. Gives the user as it was before, if it was there.
    ///
    /// # Errors
    /// The rule that was refused; then nothing has changed.
    pub fn set<H>(
        &mut self,
        name: &[u8],
        rules: &[&[u8]],
        registry: &Registry<H>,
    ) -> Result<(UserId, Option<User>), SetFault> {
        let before = self.named(name).cloned();
        let fresh = || User::new(name, self.all_channels);
        let from = before.clone().unwrap_or_else(fresh);
        let next = from.with_rules(rules, registry, self.all_channels)?;
        Ok((self.put(next), before))
    }

    /// A line of a configuration: the user as it says, whoever had the name before.
    ///
    /// # Errors
    /// The rule that was refused; then nothing has changed.
    pub fn define<H>(
        &mut self,
        name: &[u8],
        rules: &[&[u8]],
        registry: &Registry<H>,
    ) -> Result<UserId, SetFault> {
        let fresh = User::new(name, self.all_channels);
        let next = fresh.with_rules(rules, registry, self.all_channels)?;
        Ok(self.put(next))
    }

    /// ACL DELUSER: the user's number, if there was one. The default user stays.
    pub fn remove(&mut self, name: &[u8]) -> Option<UserId> {
        if name == DEFAULT_NAME {
            return None;
        }
        let id = self.by_name.remove(name)?;
        self.slab.try_remove(id.0)?;
        self.limited = self.slab.iter().any(|(_, user)| !user.is_unlimited());
        Some(id)
    }

    /// `requirepass` says this: if it said something else before, the default user has this password from now on.
    pub fn require(&mut self, password: &[u8]) {
        if self.requirepass != password {
            self.requirepass = password.to_vec();
            if let Some(user) = self.slab.get_mut(DEFAULT.0) {
                user.require(password);
            }
        }
    }

    /// Who a name and a password make one.
    pub fn log_in(&self, name: &[u8], password: &[u8]) -> Option<UserId> {
        let id = self.by_name(name)?;
        self.get(id)?.opens(password).then_some(id)
    }

    /// Whether a user may run a command, with these arguments. Costs nothing while everybody may do everything.
    #[inline]
    pub fn check<H>(&self, id: UserId, entry: &Entry<H>, args: &dyn Argv) -> Result<(), Denied> {
        if self.limited {
            self.check_user(id, entry, args)
        } else {
            Ok(())
        }
    }

    /// Whether there is anything that this user may not do.
    pub fn limits(&self, id: UserId) -> bool {
        self.limited && self.get(id).is_none_or(|user| !user.is_unlimited())
    }

    #[cold]
    fn check_user<H>(&self, id: UserId, entry: &Entry<H>, args: &dyn Argv) -> Result<(), Denied> {
        self.get(id)
            .map_or(Err(Denied::Command), |user| user.check(entry, args))
    }

    /// The users of a file, in place of those that are there. Those who are gone, and those who have changed, are told, as
    /// they were.
    ///
    /// # Errors
    /// Everything that is wrong with the file; then nothing has changed.
    pub fn load<H>(
        &mut self,
        text: &[u8],
        path: &str,
        registry: &Registry<H>,
    ) -> Result<Vec<(UserId, User)>, FileFault> {
        let mut wanted = file::parse(text, path, registry, self.all_channels)?;
        if !wanted.iter().any(|user| *user.name == *DEFAULT_NAME) {
            wanted.push(unlimited());
        }
        let differs = |&(_, user): &(UserId, &User)| !wanted.contains(user);
        let changed: Vec<_> = self
            .iter()
            .filter(differs)
            .map(|(id, user)| (id, user.clone()))
            .collect();
        for (_, user) in &changed {
            if !wanted.iter().any(|kept| kept.name == user.name) {
                self.remove(&user.name);
            }
        }
        for user in wanted {
            self.put(user);
        }
        Ok(changed)
    }

    /// The users as a file has them: a line each.
    pub fn to_file(&self) -> Vec<u8> {
        let mut text = self.lines().join(&b'\n');
        text.push(b'\n');
        text
    }

    /// A line for each user.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.iter().map(|(_, user)| user.describe()).collect()
    }

    /// A line for each user, but for the default one where `requirepass` says all there is to say.
    pub fn lines_beside_requirepass(&self) -> Vec<Vec<u8>> {
        let mut plain = unlimited();
        plain.require(&self.requirepass);
        let tells = self.iter().filter(|(_, user)| **user != plain);
        tells.map(|(_, user)| user.describe()).collect()
    }

    /// Bytes that the users take, roughly.
    pub fn memory(&self) -> usize {
        self.slab.capacity() * size_of::<User>()
    }
}
