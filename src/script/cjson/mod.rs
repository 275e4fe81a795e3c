//! The `cjson` library: JSON for scripts, with the texts and options of lua-cjson 2.1.0.
//!
//! Deviation: nesting is limited to 1000 also where a script asks for more.

mod decode;
mod encode;

use std::sync::Arc;

use mlua::{Error, Function, Lua, MultiValue, Result, Table, Value};
use parking_lot::Mutex;

use super::api::Unlimited;
use super::fault::{bad_argument, type_name};
use super::slot::Shared;

/// The options of one instance of the library.
#[derive(Debug, Clone)]
struct Options {
    /// Tables with gaps become objects; else they are errors.
    sparse_convert: bool,
    /// An array is too sparse when its length is more than this times its elements; 0 is never.
    sparse_ratio: i64,
    /// Arrays up to this length are never too sparse.
    sparse_safe: i64,
    encode_depth: i64,
    decode_depth: i64,
    /// Significant digits.
    precision: usize,
    keep_buffer: bool,
    /// 0: infinity and not-a-number are errors; 1: written as they are; 2: as null.
    encode_invalid: usize,
    /// Whether hexadecimal numbers, infinity and not-a-number are read.
    decode_invalid: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: DEEPEST,
            decode_depth: DEEPEST,
            precision: 14,
            keep_buffer: true,
            encode_invalid: 0,
            decode_invalid: true,
        }
    }
}

const DEEPEST: i64 = 1000;

/// What the functions of one instance share.
#[derive(Clone)]
struct Instance {
    options: Arc<Mutex<Options>>,
    slot: Shared,
    /// The memory limit of scripts.
    limit: usize,
    /// Lua's `next`.
    next: Function,
}

/// A new instance of the library.
pub(super) fn library(lua: &Lua, slot: &Shared, limit: usize) -> Result<Table> {
    functions(
        lua,
        Instance {
            options: Arc::default(),
            slot: Arc::clone(slot),
            limit,
            next: lua.globals().raw_get("next")?,
        },
    )
}

fn functions(lua: &Lua, instance: Instance) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("encode", with(lua, &instance, encode)?)?;
    library.raw_set("decode", with(lua, &instance, decode)?)?;
    library.raw_set("encode_sparse_array", with(lua, &instance, sparse_array)?)?;
    library.raw_set("encode_max_depth", with(lua, &instance, encode_max_depth)?)?;
    library.raw_set("decode_max_depth", with(lua, &instance, decode_max_depth)?)?;
    let precision = with(lua, &instance, number_precision)?;
    library.raw_set("encode_number_precision", precision)?;
    library.raw_set("encode_keep_buffer", with(lua, &instance, keep_buffer)?)?;
    let invalid = with(lua, &instance, encode_invalid_numbers)?;
    library.raw_set("encode_invalid_numbers", invalid)?;
    let invalid = with(lua, &instance, decode_invalid_numbers)?;
    library.raw_set("decode_invalid_numbers", invalid)?;
    let another = lua.create_function(move |lua, _: MultiValue| {
        let fresh = Instance {
            options: Arc::default(),
            ..instance.clone()
        };
        functions(lua, fresh)
    })?;
    library.raw_set("new", another)?;
    library.raw_set("null", Value::NULL)?;
    library.raw_set("_NAME", "cjson")?;
    library.raw_set("_VERSION", "2.1.0")?;
    Ok(library)
}

fn with<R: mlua::IntoLuaMulti + 'static>(
    lua: &Lua,
    instance: &Instance,
    run: fn(&Lua, &mut Call<'_>, &MultiValue) -> Result<R>,
) -> Result<Function> {
    let instance = instance.clone();
    lua.create_function(move |lua, args: MultiValue| {
        let _unlimited = Unlimited::new(lua, instance.limit)?;
        let mut call = Call {
            options: &mut instance.options.lock(),
            slot: &instance.slot,
            limit: instance.limit,
            next: &instance.next,
        };
        run(lua, &mut call, &args)
    })
}

/// A call of a function of the library.
struct Call<'a> {
    options: &'a mut Options,
    slot: &'a Shared,
    limit: usize,
    next: &'a Function,
}

fn encode(lua: &Lua, call: &mut Call<'_>, args: &MultiValue) -> Result<Value> {
    let Some(value) = only(args) else {
        return Err(bad_argument(lua, 1, "encode", "expected 1 argument"));
    };
    let text = encode::encode(lua, call, value)?;
    Ok(Value::String(lua.create_string(text)?))
}

fn decode(lua: &Lua, call: &mut Call<'_>, args: &MultiValue) -> Result<Value> {
    let Some(value) = only(args) else {
        return Err(bad_argument(lua, 1, "decode", "expected 1 argument"));
    };
    let Some(text) = lua.coerce_string(value.clone())? else {
        let why = format!("string expected, got {}", type_name(Some(value)));
        return Err(bad_argument(lua, 1, "decode", &why));
    };
    decode::decode(lua, call.options, &text.as_bytes())
}

fn only(args: &MultiValue) -> Option<&Value> {
    (args.len() == 1).then(|| args.front()).flatten()
}

/// An optional argument of the option function `name`, which takes `most`.
struct Setting<'a> {
    lua: &'a Lua,
    name: &'static str,
    args: &'a MultiValue,
}

impl<'a> Setting<'a> {
    fn new(lua: &'a Lua, name: &'static str, args: &'a MultiValue, most: usize) -> Result<Self> {
        if args.len() > most {
            let why = "found too many arguments";
            return Err(bad_argument(lua, most + 1, name, why));
        }
        Ok(Setting { lua, name, args })
    }

    fn given(&self, at: usize) -> Option<&Value> {
        self.args.get(at).filter(|v| !v.is_nil())
    }

    fn wrong(&self, at: usize, why: &str) -> Error {
        bad_argument(self.lua, at + 1, self.name, why)
    }

    fn integer(&self, at: usize, low: i64, high: i64, was: i64) -> Result<i64> {
        let Some(value) = self.given(at) else {
            return Ok(was);
        };
        let Some(n) = self.lua.coerce_number(value.clone())? else {
            let why = format!("number expected, got {}", type_name(Some(value)));
            return Err(self.wrong(at, &why));
        };
        let n = n as i64;
        if (low..=high).contains(&n) {
            Ok(n)
        } else {
            // Whichever it is, the first is blamed.
            Err(self.wrong(0, &format!("expected integer between {low} and {high}")))
        }
    }

    /// One of the words, by its position; a boolean stands for the first two.
    fn choice(&self, at: usize, words: &[&str], was: usize) -> Result<usize> {
        let Some(value) = self.given(at) else {
            return Ok(was);
        };
        if let Value::Boolean(on) = value {
            return Ok(usize::from(*on));
        }
        let Some(word) = self.lua.coerce_string(value.clone())? else {
            let why = format!("string expected, got {}", type_name(Some(value)));
            return Err(self.wrong(at, &why));
        };
        let word = word.to_string_lossy();
        words
            .iter()
            .position(|w| **w == word)
            .ok_or_else(|| self.wrong(at, &format!("invalid option '{word}'")))
    }
}

const SWITCH: &[&str] = &["off", "on"];
const LARGEST: i64 = i32::MAX as i64;

fn sparse_array(lua: &Lua, call: &mut Call<'_>, args: &MultiValue) -> Result<(bool, i64, i64)> {
    let options = &mut *call.options;
    let set = Setting::new(lua, "encode_sparse_array", args, 3)?;
    options.sparse_convert = set.choice(0, SWITCH, usize::from(options.sparse_convert))? == 1;
    options.sparse_ratio = set.integer(1, 0, LARGEST, options.sparse_ratio)?;
    options.sparse_safe = set.integer(2, 0, LARGEST, options.sparse_safe)?;
    Ok((
        options.sparse_convert,
        options.sparse_ratio,
        options.sparse_safe,
    ))
}

fn encode_max_depth(lua: &Lua, call: &mut Call<'_>, args: &MultiValue) -> Result<i64> {
    let options = &mut *call.options;
    let set = Setting::new(lua, "encode_max_depth", args, 1)?;
    options.encode_depth = set.integer(0, 1, LARGEST, options.encode_depth)?;
    Ok(options.encode_depth)
}

fn decode_max_depth(lua: &Lua, call: &mut Call<'_>, args: &MultiValue) -> Result<i64> {
    let options = &mut *call.options;
    let set = Setting::new(lua, "decode_max_depth", args, 1)?;
    options.decode_depth = set.integer(0, 1, LARGEST, options.decode_depth)?;
    Ok(options.decode_depth)
}

fn number_precision(lua: &Lua, call: &mut Call<'_>, args: &MultiValue) -> Result<usize> {
    let options = &mut *call.options;
    let set = Setting::new(lua, "encode_number_precision", args, 1)?;
    let precision = set.integer(0, 1, 14, options.precision as i64)?;
    options.precision = usize::try_from(precision).unwrap_or(14);
    Ok(options.precision)
}

fn keep_buffer(lua: &Lua, call: &mut Call<'_>, args: &MultiValue) -> Result<bool> {
    let options = &mut *call.options;
    let set = Setting::new(lua, "encode_keep_buffer", args, 1)?;
    options.keep_buffer = set.choice(0, SWITCH, usize::from(options.keep_buffer))? == 1;
    Ok(options.keep_buffer)
}

fn encode_invalid_numbers(lua: &Lua, call: &mut Call<'_>, args: &MultiValue) -> Result<Value> {
    let options = &mut *call.options;
    let set = Setting::new(lua, "encode_invalid_numbers", args, 1)?;
    options.encode_invalid = set.choice(0, &["off", "on", "null"], options.encode_invalid)?;
    match options.encode_invalid {
        2 => Ok(Value::String(lua.create_string("null")?)),
        on => Ok(Value::Boolean(on == 1)),
    }
}

fn decode_invalid_numbers(lua: &Lua, call: &mut Call<'_>, args: &MultiValue) -> Result<bool> {
    let options = &mut *call.options;
    let set = Setting::new(lua, "decode_invalid_numbers", args, 1)?;
    options.decode_invalid = set.choice(0, SWITCH, usize::from(options.decode_invalid))? == 1;
    Ok(options.decode_invalid)
}
