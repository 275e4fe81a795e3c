//! Sorted sets.

use super::super::common::Argv;
use super::super::generate::Generator;

impl Generator {
    pub fn zset(&mut self) -> Argv {
        cmd!["PING"]
    }
}
