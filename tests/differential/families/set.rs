//! Sets.

use super::super::common::Argv;
use super::super::generate::Generator;

impl Generator {
    pub fn set(&mut self) -> Argv {
        cmd!["PING"]
    }
}
