//! The directives: each is one row, which says how it is read and how it is written.

use super::words::{
    Line, NO_PORT, epoch, flag, if_any, int, no_address, place, quoted, text, time, unless,
    unless_empty, yes_or_no,
};
use super::{NO_MASTER, Why};
use crate::resp::quote;
use crate::sentinel::instance::{Id, Master};
use crate::sentinel::settings::{MasterSettings, Periods, Settings};
use crate::sentinel::{Address, Instance, Sentinel};

/// Digits of the id of a sentinel.
const ID: usize = 40;

/// A directive about the sentinel itself: it has one value.
pub(super) struct Own {
    pub(super) name: &'static str,
    pub(super) read: fn(&mut Sentinel, &[u8]) -> Result<(), Why>,
    pub(super) write: fn(&Sentinel) -> Written,
}

/// How the value of such a directive is written.
pub(super) enum Written {
    /// In a line.
    Always(Vec<u8>),
    /// In the line that is there, if one is: it has its default.
    Kept(Vec<u8>),
    /// Not at all.
    Never,
}

/// A directive about a master, whose name is its first word.
pub(super) struct OfMaster {
    pub(super) name: &'static str,
    pub(super) read: Read,
    pub(super) write: fn(&Sentinel, &Master) -> Vec<Line>,
}

/// How such a directive is read.
pub(super) enum Read {
    /// It says that there is this master, which `load` takes care of.
    Monitor,
    /// It sets something: one word follows the name.
    Setting(fn(&mut MasterSettings, &[u8]) -> Result<(), Why>),
    /// It names a script.
    Script(fn(&mut MasterSettings) -> &mut String, Why),
    /// It tells what was known when it was written. How many words follow the name.
    Known(&'static [usize], Remember),
}

/// Takes the words that follow the name of a master.
pub(super) type Remember = fn(&mut Sentinel, Id, &[Vec<u8>]) -> Result<(), Why>;

pub(super) const FIRST: &[Own] = &[
    Own {
        name: "myid",
        read: |sentinel, id| {
            let id = text(id).ok().filter(|id| id.len() == ID);
            let id = id.ok_or("Malformed Sentinel id in myid option.")?;
            id.clone_into(&mut sentinel.settings.my_id);
            Ok(())
        },
        write: |sentinel| Written::Always(sentinel.settings.my_id.clone().into()),
    },
    Own {
        name: "deny-scripts-reconfig",
        read: |sentinel, word| {
            let why = "Please specify yes or no for the deny-scripts-reconfig options.";
            sentinel.settings.deny_scripts = yes_or_no(word).ok_or(why)?;
            Ok(())
        },
        write: |sentinel| flag(sentinel.settings.deny_scripts, true),
    },
    Own {
        name: "resolve-hostnames",
        read: |sentinel, word| {
            let why = "Please specify yes or no for the resolve-hostnames option.";
            sentinel.settings.naming.resolves = yes_or_no(word).ok_or(why)?;
            Ok(())
        },
        write: |sentinel| flag(sentinel.settings.naming.resolves, false),
    },
    Own {
        name: "announce-hostnames",
        read: |sentinel, word| {
            let why = "Please specify yes or no for the announce-hostnames option.";
            sentinel.settings.naming.announces_names = yes_or_no(word).ok_or(why)?;
            Ok(())
        },
        write: |sentinel| flag(sentinel.settings.naming.announces_names, false),
    },
];

pub(super) const LAST: &[Own] = &[
    Own {
        name: "current-epoch",
        read: |sentinel, word| {
            sentinel.epoch = sentinel.epoch.max(epoch(word));
            Ok(())
        },
        write: |sentinel| Written::Always(sentinel.epoch.to_string().into()),
    },
    Own {
        name: "announce-ip",
        read: |sentinel, word| {
            text(word)?.clone_into(&mut sentinel.settings.announce_ip);
            Ok(())
        },
        write: |sentinel| {
            let ip = sentinel.settings.announce_ip.as_bytes();
            let mut quoted = Vec::new();
            quote(&mut quoted, ip);
            if_any(ip, quoted)
        },
    },
    Own {
        name: "announce-port",
        read: |sentinel, word| {
            let port = u16::try_from(int(word)).map_err(|_| NO_PORT)?;
            sentinel.settings.announce_port = port;
            Ok(())
        },
        write: |sentinel| match sentinel.settings.announce_port {
            0 => Written::Never,
            port => Written::Always(port.to_string().into()),
        },
    },
    Own {
        name: "sentinel-user",
        read: |sentinel, word| {
            sentinel.settings.user = word.to_vec();
            Ok(())
        },
        write: |sentinel| if_any(&sentinel.settings.user, quoted(&sentinel.settings.user)),
    },
    Own {
        name: "sentinel-pass",
        read: |sentinel, word| {
            sentinel.settings.password = word.to_vec();
            Ok(())
        },
        write: |sentinel| {
            let Settings { password, .. } = &sentinel.settings;
            if_any(password, quoted(password))
        },
    },
];

pub(super) const OF_MASTERS: &[OfMaster] = &[
    OfMaster {
        name: "monitor",
        read: Read::Monitor,
        write: |sentinel, master| {
            let Some(address) = sentinel.current_address(master.id) else {
                return Vec::new();
            };
            let line = Line::new().word(address.told(sentinel.settings.naming));
            vec![line.number(address.port).number(master.settings.quorum)]
        },
    },
    OfMaster {
        name: "down-after-milliseconds",
        read: Read::Setting(|set, word| {
            set.down_after = time(word)?;
            Ok(())
        }),
        write: |_, master| {
            let default = Periods::default().default_down_after;
            unless(master.settings.down_after, default)
        },
    },
    OfMaster {
        name: "failover-timeout",
        read: Read::Setting(|set, word| {
            set.failover_timeout = time(word)?;
            Ok(())
        }),
        write: |_, master| {
            let default = Periods::default().default_failover;
            unless(master.settings.failover_timeout, default)
        },
    },
    OfMaster {
        name: "parallel-syncs",
        read: Read::Setting(|set, word| {
            set.parallel_syncs = int(word).max(0) as u32;
            Ok(())
        }),
        write: |_, master| unless(master.settings.parallel_syncs, 1),
    },
    OfMaster {
        name: "notification-script",
        read: Read::Script(
            |set| &mut set.notification_script,
            "Notification script seems non existing or non executable.",
        ),
        write: |_, master| unless_empty(&master.settings.notification_script),
    },
    OfMaster {
        name: "client-reconfig-script",
        read: Read::Script(
            |set| &mut set.reconfig_script,
            "Client reconfiguration script seems non existing or non executable.",
        ),
        write: |_, master| unless_empty(&master.settings.reconfig_script),
    },
    OfMaster {
        name: "auth-pass",
        read: Read::Setting(|set, word| {
            set.auth_pass = word.to_vec();
            Ok(())
        }),
        write: |_, master| unless_empty(&master.settings.auth_pass),
    },
    OfMaster {
        name: "auth-user",
        read: Read::Setting(|set, word| {
            set.auth_user = word.to_vec();
            Ok(())
        }),
        write: |_, master| unless_empty(&master.settings.auth_user),
    },
    OfMaster {
        name: "master-reboot-down-after-period",
        read: Read::Setting(|set, word| {
            let period = Some(int(word)).filter(|&period| period >= 0);
            set.reboot_down_after = period.ok_or("negative time parameter.")?;
            Ok(())
        }),
        write: |_, master| unless(master.settings.reboot_down_after, 0),
    },
    OfMaster {
        name: "config-epoch",
        read: Read::Known(&[1], |sentinel, id, words| {
            sentinel.remember_epochs(id, words.first().map(|word| epoch(word)), None);
            Ok(())
        }),
        write: |_, master| vec![Line::new().number(master.config_epoch)],
    },
    OfMaster {
        name: "leader-epoch",
        read: Read::Known(&[1], |sentinel, id, words| {
            sentinel.remember_epochs(id, None, words.first().map(|word| epoch(word)));
            Ok(())
        }),
        write: |_, master| vec![Line::new().number(master.vote_epoch)],
    },
    OfMaster {
        name: "known-replica",
        read: Read::Known(&[2], |sentinel, id, words| {
            let (host, port) = place(words)?;
            sentinel.address_or_name(host, port).map_err(no_address)?;
            let added = sentinel.add_replica(id, host, port);
            added
                .map(drop)
                .ok_or("Duplicate hostname and port for replica.")
        }),
        write: known_replicas,
    },
    OfMaster {
        name: "known-sentinel",
        // Old files have no id, and are of no use.
        read: Read::Known(&[2, 3], |sentinel, id, words| {
            let Some(run_id) = words.get(2) else {
                return Ok(());
            };
            let (host, port) = place(words)?;
            sentinel.address_or_name(host, port).map_err(no_address)?;
            let added = sentinel.add_sentinel(id, host, port, text(run_id)?);
            added.map(drop).ok_or("Duplicate runid for sentinel.")
        }),
        write: known_sentinels,
    },
    OfMaster {
        name: "rename-command",
        read: Read::Known(&[2], |sentinel, id, words| {
            let (Some(master), [from, to]) = (sentinel.masters.get_mut(&id), words) else {
                return Err(NO_MASTER);
            };
            let (from, to) = (text(from)?.to_ascii_uppercase(), text(to)?.to_owned());
            match master.settings.renamed.insert(from, to) {
                None => Ok(()),
                Some(_) => Err("Same command renamed multiple times with rename-command."),
            }
        }),
        write: |_, master| {
            let renamed = master.settings.renamed.iter();
            renamed
                .map(|(from, to)| Line::new().word(from).word(to))
                .collect()
        },
    },
];

/// Older names.
const OLDER: &[(&str, &str)] = &[("known-slave", "known-replica")];

/// The names of all directives.
fn names() -> impl Iterator<Item = &'static str> {
    let own = FIRST.iter().chain(LAST).map(|row| row.name);
    own.chain(OF_MASTERS.iter().map(|row| row.name))
}

/// The directive that a word means.
pub(super) fn directive(word: &[u8]) -> Option<&'static str> {
    let older = OLDER
        .iter()
        .find(|(older, _)| older.as_bytes().eq_ignore_ascii_case(word));
    let word = older.map_or(word, |(_, name)| name.as_bytes());
    names().find(|name| name.as_bytes().eq_ignore_ascii_case(word))
}

fn known_replicas(sentinel: &Sentinel, master: &Master) -> Vec<Line> {
    let (Some(leader), Some(old)) = (
        sentinel.current_address(master.id),
        sentinel.instance(master.id),
    ) else {
        return Vec::new();
    };
    let replicas = master.replicas.iter();
    let addresses = replicas.filter_map(|id| Some(&sentinel.instances.get(id)?.address));
    let line = |address: &Address| {
        // One that has been promoted leads already, in this file: the old leader stands in its place.
        let address = match address.is(leader) {
            true => &old.address,
            false => address,
        };
        let host = address.told(sentinel.settings.naming);
        Line::new().word(host).number(address.port)
    };
    addresses.map(line).collect()
}

fn known_sentinels(sentinel: &Sentinel, master: &Master) -> Vec<Line> {
    let sentinels = master.sentinels.iter();
    let known = sentinels.filter_map(|id| sentinel.instances.get(id));
    let line = |known: &Instance| {
        let host = known.address.told(sentinel.settings.naming);
        let line = Line::new().word(host).number(known.address.port);
        Some(line.word(known.run_id.as_ref()?))
    };
    known.filter_map(line).collect()
}
