//! HyperLogLogs.

use super::super::common::Argv;
use super::super::generate::Generator;

impl Generator {
    pub fn hll(&mut self) -> Argv {
        cmd!["PING"]
    }
}
