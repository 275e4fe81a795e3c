//! The configuration of a sentinel: lines that begin with `sentinel`, read and written.

use super::Sentinel;

impl Sentinel {
    /// Takes the lines of a configuration, as words behind `sentinel`.
    ///
    /// # Errors
    /// Which line is wrong, and why.
    pub fn load(&mut self, lines: &[Vec<Vec<u8>>]) -> Result<(), (usize, String)> {
        for (index, line) in lines.iter().enumerate() {
            let words: Vec<_> = line.iter().map(|w| String::from_utf8_lossy(w)).collect();
            let words: Vec<&str> = words.iter().map(|w| &**w).collect();
            let number = |text: &str| text.parse().unwrap_or(0);
            let refused = |why: &str| Err((index, why.to_owned()));
            match *words.as_slice() {
                ["myid", id] => id.clone_into(&mut self.settings.my_id),
                ["monitor", name, host, port, quorum] => {
                    if let Err(e) = self.monitor(name, host, number(port), number(quorum)) {
                        return refused(&e.to_string());
                    }
                }
                [what, name, value] => {
                    let Some(id) = self.find(name).map(|master| master.id) else {
                        return refused("No such master with specified name.");
                    };
                    let Some(master) = self.master_mut(id) else {
                        continue;
                    };
                    let set = &mut master.settings;
                    match what {
                        "down-after-milliseconds" => set.down_after = number(value),
                        "failover-timeout" => set.failover_timeout = number(value),
                        "notification-script" => value.clone_into(&mut set.notification_script),
                        _ => return refused("Unrecognized sentinel configuration statement."),
                    }
                }
                _ => return refused("Unrecognized sentinel configuration statement."),
            }
        }
        Ok(())
    }

    /// What a configuration file should hold, given what it holds.
    pub fn rewritten(&self, old: &[u8]) -> Vec<u8> {
        old.to_vec()
    }
}
