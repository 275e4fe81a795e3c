//! DUMP and RESTORE.

use super::super::common::Argv;
use super::super::generate::Generator;

impl Generator {
    pub fn dump(&mut self) -> Argv {
        cmd!["PING"]
    }
}
