//! SORT.

use super::super::common::Argv;
use super::super::generate::Generator;

impl Generator {
    pub fn sort(&mut self) -> Argv {
        cmd!["PING"]
    }
}
