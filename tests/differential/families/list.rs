//! Lists.

use super::super::common::Argv;
use super::super::generate::Generator;

impl Generator {
    pub fn list(&mut self) -> Argv {
        cmd!["PING"]
    }
}
