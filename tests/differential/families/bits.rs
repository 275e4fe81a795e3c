//! Bitmaps.

use super::super::common::Argv;
use super::super::generate::Generator;

impl Generator {
    pub fn bits(&mut self) -> Argv {
        cmd!["PING"]
    }
}
