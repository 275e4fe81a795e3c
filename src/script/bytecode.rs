//! What can be seen in compiled code, as `string.dump` of Lua 5.1 writes it.
//!
//! ```text
//! header     1b 'Lua' 51 00, then sizes and byte order: 01 04 08 04 08 00 where this is read
//! function   name of the chunk, line and last line (int each), four bytes,
//!            instructions, constants, functions within,
//!            lines (int each), local variables (name, two ints), upvalues (name)
//! ```
//! Each list has its length before it (int); a string has it as well (size_t), with a zero byte behind it.

const HEADER: &[u8] = b"\x1bLua\x51\0\x01\x04\x08\x04\x08\0";

/// The instruction that assigns a global variable, and the bits of an instruction that tell which one it is.
const SETGLOBAL: u8 = 7;
const OPCODE: u8 = 0x3f;

/// Whether a function assigns no global variables, nor does any that is written within it. Where in doubt, it may.
pub(super) fn assigns_no_global(dumped: &[u8]) -> bool {
    let code = dumped.strip_prefix(HEADER).map(Code);
    code.is_some_and(|mut code| code.function() == Some(()))
}

/// What is left to be read.
struct Code<'a>(&'a [u8]);

impl<'a> Code<'a> {
    /// Reads over a function; nothing if it assigns a global variable. Lua compiles none that are nested deep.
    fn function(&mut self) -> Option<()> {
        self.string()?;
        self.take(4 + 4 + 4)?;
        let instructions = self.list(4)?;
        let assigns = |instruction: &[u8]| instruction[0] & OPCODE == SETGLOBAL;
        if instructions.chunks_exact(4).any(assigns) {
            return None;
        }
        for _ in 0..self.int()? {
            match self.take(1)? {
                [0] => {}
                [1] => self.take(1).map(drop)?,
                [3] => self.take(8).map(drop)?,
                _ => self.string()?,
            }
        }
        for _ in 0..self.int()? {
            self.function()?;
        }
        self.list(4)?;
        for _ in 0..self.int()? {
            self.string()?;
            self.take(4 + 4)?;
        }
        for _ in 0..self.int()? {
            self.string()?;
        }
        Some(())
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<usize> {
        let (int, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*int) as usize)
    }

    fn list(&mut self, size: usize) -> Option<&'a [u8]> {
        let n = self.int()?;
        self.take(n.checked_mul(size)?)
    }

    fn string(&mut self) -> Option<()> {
        let (size, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        self.take(u64::from_le_bytes(*size).try_into().ok()?)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use mlua::Lua;

    use super::*;

    fn assigns_none(code: &str) -> bool {
        let lua = Lua::new();
        assigns_no_global(&lua.load(code).into_function().unwrap().dump(false))
    }

    #[test]
    fn code_that_assigns_none_is_seen() {
        for code in [
            "",
            "return redis.call('get', KEYS[1]) == ARGV[1]",
            "local a, b = 1, nil a = true b = {x = 1, 2.5, 'y'} b.z = a local function f() a = f end return f",
            "for i = 1, 3 do local x = function(y) return function() y = i + #KEYS end end x(i) end",
        ] {
            assert!(assigns_none(code), "{code}");
        }
    }

    #[test]
    fn an_assignment_is_seen_wherever_it_is() {
        for code in [
            "x = 1",
            "local a a, x = 1, 2",
            "function f() end",
            "local function f() local function g() return function() x = 1 end end end",
            "if KEYS then for _ in pairs({}) do redis = nil end end",
        ] {
            assert!(!assigns_none(code), "{code}");
        }
        assert!(!assigns_no_global(b""));
        let dumped = Lua::new()
            .load("return 1")
            .into_function()
            .unwrap()
            .dump(false);
        for len in 0..dumped.len() {
            assert!(!assigns_no_global(&dumped[..len]), "{len}");
        }
    }
}
