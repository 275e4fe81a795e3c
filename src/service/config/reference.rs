//! conf/redkeep.conf: every parameter with its default, made from the rows.

use super::codec::quoted;
use super::params::{Config, SECTIONS};
use super::row::{Effect, Row};

/// A configuration file that sets every parameter to its default and says what each does.
pub fn reference() -> String {
    let defaults = Config::default();
    let mut out = String::from(HEAD);
    for (section, rows) in SECTIONS {
        let line = "=".repeat(60usize.saturating_sub(section.len()));
        out.push_str(&format!("\n# ==== {section} {line}\n"));
        for row in rows.iter().filter(|row| !row.hidden) {
            entry(&mut out, row, &defaults);
        }
    }
    out
}

const HEAD: &str = "\
# Every directive that Redkeep knows, at its default. Generated from the source: edit a copy.
#
#     redkeep /path/to/this.conf --port 7000
#
# A line is a name and its values. Values with spaces go between quotes; \"\\n\" and \"\\x41\" work between double
# quotes. Memory may have a unit: 1k is 1000 bytes, 1kb 1024; also m, mb, g, gb. `include other.conf` reads another
# file in this place, wildcards allowed. Options on the command line override the file.
";

fn entry(out: &mut String, row: &Row, defaults: &Config) {
    out.push('\n');
    for line in row.doc {
        out.push_str(&format!("#{line}\n"));
    }
    let accepts = row.accepts();
    if !accepts.is_empty() {
        out.push_str(&format!("# Values: {accepts}.\n"));
    }
    match row.effect {
        Effect::Live => {}
        Effect::Hint(why) => out.push_str(&format!("# Accepted; no meaning here: {why}.\n")),
        Effect::Later => out.push_str("# No effect in this version.\n"),
        Effect::Only(values, why) => {
            let values: Vec<_> = values
                .iter()
                .map(|v| String::from_utf8_lossy(&quoted(v.as_bytes())).into_owned())
                .collect();
            out.push_str(&format!("# Only {}: {why}.\n", values.join(" or ")));
        }
    }
    if !row.aliases.is_empty() {
        out.push_str(&format!("# Also known as {}.\n", row.aliases.join(", ")));
    }
    if row.immutable {
        out.push_str("# CONFIG SET cannot change it.\n");
    }
    let lines = row.lines(defaults);
    if lines.is_empty() {
        out.push_str(&format!("# {}\n", row.name));
    }
    for args in lines {
        out.push_str(&format!(
            "{} {}\n",
            row.name,
            String::from_utf8_lossy(&args)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::config::{SystemFiles, invocation, load::Invocation};

    fn path() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/redkeep.conf")
    }

    /// `UPDATE=1 cargo test --lib reference` writes the file anew.
    #[test]
    fn the_file_is_what_the_rows_say() {
        if std::env::var_os("UPDATE").is_some() {
            super::super::files::replace(&path(), reference().as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path()).unwrap(), reference());
    }

    #[test]
    fn loading_it_yields_the_defaults_and_no_warning() {
        let argv = [path().into_os_string().into_encoded_bytes()];
        let Ok(Invocation::Run(loaded)) = invocation(&argv, &SystemFiles) else {
            panic!()
        };
        let dir = loaded.config.dir.clone();
        assert_eq!(
            loaded.config,
            Config {
                dir,
                ..Config::default()
            }
        );
        assert_eq!(loaded.warnings, [""; 0]);
    }
}
