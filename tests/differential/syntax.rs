//! Valid calls from the syntax lines of Redkeep's own command table: a second source of commands, which knows every
//! option that the table declares.

use super::common::Argv;
use super::generate::Generator;
use redkeep::commands;
use redkeep::spec::Group;
use redkeep::spec::syntax::{Arg, Choices, Syntax};

/// Commands left out: they wait, they answer with random keys, or they need another server.
const LEFT_OUT: &[&str] = &[
    "wait",
    "waitaof",
    "migrate",
    "sort",
    "sort_ro",
    "dump",
    "restore",
    "randomkey",
    "pfselftest",
];

/// Words of options that redis-server 7.0 does not know yet.
const LATER: &[&[u8]] = &[
    b"IFEQ",
    b"IFNE",
    b"IFDEQ",
    b"IFDNE",
    b"KEEPREF",
    b"DELREF",
    b"ACKED",
    b"IDMP",
    b"IDMPAUTO",
    b"CLAIM",
    b"MAXCOUNT",
    b"MAXSIZE",
    b"CAPA",
    b"NOVALUES",
    b"DIFF",
    b"DIFF1",
    b"ANDOR",
    b"ONE",
    b"BYPOLYGON",
];

/// The commands that both servers know, by name and syntax.
pub struct Table {
    lines: Vec<(Argv, Syntax<'static>)>,
}

impl Table {
    pub fn new() -> Table {
        let mut lines = Vec::new();
        for entry in commands::registry().iter() {
            let row = entry.row;
            let families = matches!(
                row.group,
                Group::String
                    | Group::Generic
                    | Group::Stream
                    | Group::Hash
                    | Group::Bitmap
                    | Group::HyperLogLog
                    | Group::Geo
            );
            if !families
                || row.run.is_none()
                || !in_7_0(row.since)
                || LEFT_OUT.contains(&&*entry.name)
            {
                continue;
            }
            let name = entry
                .name
                .split('|')
                .map(|w| w.to_ascii_uppercase().into_bytes())
                .collect();
            lines.push((name, Syntax::parse(row.syntax).expect("a syntax line")));
        }
        assert!(
            lines.len() > 40,
            "the command table has only {} commands of these groups",
            lines.len()
        );
        Table { lines }
    }

    /// A valid call of any command.
    pub fn call(&self, g: &mut Generator) -> Argv {
        loop {
            let (name, syntax) = &self.lines[g.below(self.lines.len())];
            let mut argv = name.clone();
            argv.extend(syntax.generate(g));
            if !argv.iter().any(|w| LATER.contains(&w.as_slice())) {
                return argv;
            }
        }
    }
}

/// Whether a version is not after 7.0.
fn in_7_0(version: &str) -> bool {
    let mut parts = version.split('.').map(|p| p.parse().unwrap_or(99u32));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) <= (7, 0)
}

impl Choices for Generator {
    fn below(&mut self, n: usize) -> usize {
        Generator::below(self, n)
    }

    fn include(&mut self, arg: &Arg<'_>) -> bool {
        arg.since.is_none_or(in_7_0) && Generator::below(self, 3) == 0
    }

    fn value(&mut self, arg: &Arg<'_>) -> Vec<u8> {
        self.value_for(&arg.name, arg.token, &arg.kind)
    }
}
