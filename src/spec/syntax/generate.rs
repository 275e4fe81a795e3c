//! Valid calls at random, from a syntax tree.

use super::{Arg, Kind, Syntax};

/// What the generator asks for: the choices and the values of one call.
pub trait Choices {
    /// Any number below `n`.
    fn below(&mut self, n: usize) -> usize;

    /// A value for an argument that is neither a token nor a count.
    fn value(&mut self, arg: &Arg<'_>) -> Vec<u8>;

    /// The number for an integer that says how many of something follow.
    fn count(&mut self, arg: &Arg<'_>, n: usize) -> Vec<u8> {
        let _ = arg;
        n.to_string().into_bytes()
    }

    /// A word of the syntax; its case does not matter.
    fn token(&mut self, token: &str) -> Vec<u8> {
        token.as_bytes().to_vec()
    }

    /// Whether an optional argument is there.
    fn include(&mut self, arg: &Arg<'_>) -> bool {
        let _ = arg;
        self.below(2) == 0
    }

    /// How often an argument is repeated, at least once.
    fn repeat(&mut self, arg: &Arg<'_>) -> usize {
        let _ = arg;
        1 + self.below(3)
    }
}

struct Generator<'s, 'c> {
    choices: &'c mut dyn Choices,
    /// Arguments whose repetition another one tells, in the order of the line.
    counted: Vec<&'s Arg<'s>>,
    /// How often what was generated so far occurred.
    counts: Vec<(&'s str, usize)>,
    out: Vec<Vec<u8>>,
}

impl Syntax<'_> {
    /// The arguments of a valid call, without the command's name.
    pub fn generate(&self, choices: &mut dyn Choices) -> Vec<Vec<u8>> {
        let mut counted = Vec::new();
        find_counted(&self.args, &mut counted);
        let mut g = Generator {
            choices,
            counted,
            counts: Vec::new(),
            out: Vec::new(),
        };
        g.list(&self.args);
        g.out
    }
}

fn find_counted<'s>(args: &'s [Arg<'s>], out: &mut Vec<&'s Arg<'s>>) {
    for arg in args {
        if arg.count.is_some() {
            out.push(arg);
        }
        find_counted(arg.kind.inner(), out);
    }
}

impl<'s> Generator<'s, '_> {
    fn list(&mut self, args: &'s [Arg<'s>]) {
        for arg in args {
            if self.included(arg) {
                self.arg(arg);
            }
        }
    }

    /// Of the arguments that a number counts, the first is there whenever the number is not 0.
    fn included(&mut self, arg: &'s Arg<'s>) -> bool {
        let counted = arg.count.and_then(|name| self.count_of(name));
        match counted {
            Some(0) => false,
            Some(_) if self.is_first_counted(arg) => true,
            _ => !arg.optional || self.choices.include(arg),
        }
    }

    fn count_of(&self, name: &str) -> Option<usize> {
        self.counts
            .iter()
            .rev()
            .find(|(n, _)| *n == name)
            .map(|&(_, n)| n)
    }

    fn is_first_counted(&self, arg: &Arg<'_>) -> bool {
        let first = self.counted.iter().find(|a| a.count == arg.count);
        first.is_some_and(|a| std::ptr::eq::<Arg<'_>>(*a, arg))
    }

    fn arg(&mut self, arg: &'s Arg<'s>) {
        let times = match (arg.multiple, arg.count.and_then(|name| self.count_of(name))) {
            (false, _) => 1,
            (true, Some(n)) => n,
            (true, None) => self.choices.repeat(arg),
        };
        if arg.multiple {
            self.counts.push((&arg.name, times));
        }
        for i in 0..times {
            if let Some(token) = arg.token
                && (i == 0 || arg.multiple_token || arg.kind == Kind::PureToken)
            {
                // How MIGRATE's syntax writes the empty word.
                let token = match token {
                    "\"\"" => Vec::new(),
                    token => self.choices.token(token),
                };
                self.out.push(token);
            }
            self.once(arg);
        }
    }

    fn once(&mut self, arg: &'s Arg<'s>) {
        match &arg.kind {
            Kind::PureToken => {}
            Kind::Block(args) => self.list(args),
            Kind::OneOf(args) => {
                let pick = self.choices.below(args.len());
                if let Some(arg) = args.get(pick) {
                    self.arg(arg);
                }
            }
            Kind::Integer if let Some(first) = self.counted_by(arg) => {
                let n = match first.optional && self.choices.below(4) == 0 {
                    true => 0,
                    false => self.choices.repeat(first),
                };
                self.counts.push((&arg.name, n));
                let n = self.choices.count(arg, n);
                self.out.push(n);
            }
            _ => {
                let value = self.choices.value(arg);
                self.out.push(value);
            }
        }
    }

    fn counted_by(&self, number: &Arg<'_>) -> Option<&'s Arg<'s>> {
        self.counted
            .iter()
            .copied()
            .find(|a| a.count == Some(&*number.name))
    }
}
