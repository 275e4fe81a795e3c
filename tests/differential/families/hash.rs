//! Hashes.

use super::super::common::Argv;
use super::super::generate::Generator;

impl Generator {
    pub fn hash(&mut self) -> Argv {
        cmd!["PING"]
    }
}
