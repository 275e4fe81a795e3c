//! A syntax for people: `key value [NX | XX] [EX seconds | KEEPTTL]`.

use std::fmt::{Display, Formatter, Result};

use super::{Arg, Kind, Syntax};

impl Display for Syntax<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        separated(f, &self.args, " ", |f, arg| shown(f, arg))
    }
}

fn separated<'a>(
    f: &mut Formatter<'_>,
    args: &'a [Arg<'a>],
    separator: &str,
    show: impl Fn(&mut Formatter<'_>, &'a Arg<'a>) -> Result,
) -> Result {
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        show(f, arg)?;
    }
    Ok(())
}

fn shown(f: &mut Formatter<'_>, arg: &Arg<'_>) -> Result {
    if !arg.optional {
        return repeated(f, arg);
    }
    f.write_str("[")?;
    repeated(f, arg)?;
    f.write_str("]")
}

/// `key [key ...]`, and `GET pattern [GET pattern ...]` where the token is repeated too.
fn repeated(f: &mut Formatter<'_>, arg: &Arg<'_>) -> Result {
    let token = arg.token.filter(|_| arg.kind != Kind::PureToken);
    if let Some(token) = token {
        write!(f, "{token} ")?;
    }
    once(f, arg)?;
    if !arg.multiple {
        return Ok(());
    }
    f.write_str(" [")?;
    if let Some(token) = token.filter(|_| arg.multiple_token) {
        write!(f, "{token} ")?;
    }
    once(f, arg)?;
    f.write_str(" ...]")
}

fn once(f: &mut Formatter<'_>, arg: &Arg<'_>) -> Result {
    match &arg.kind {
        Kind::PureToken => f.write_str(arg.token.unwrap_or_default()),
        Kind::Block(args) => separated(f, args, " ", |f, arg| shown(f, arg)),
        Kind::OneOf(args) => {
            // Brackets hold the alternatives together already, unless a token or another copy stands inside too.
            let bare = arg.optional && arg.token.is_none() && !arg.multiple;
            if !bare {
                f.write_str("<")?;
            }
            separated(f, args, " | ", |f, arg| repeated(f, arg))?;
            if !bare {
                f.write_str(">")?;
            }
            Ok(())
        }
        _ => f.write_str(arg.display().unwrap_or_default()),
    }
}
