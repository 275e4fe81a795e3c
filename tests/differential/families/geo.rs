//! Geographic indexes.

use super::super::common::Argv;
use super::super::generate::Generator;

impl Generator {
    pub fn geo(&mut self) -> Argv {
        cmd!["PING"]
    }
}
