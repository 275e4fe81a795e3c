//! The `cjson` library: JSON for scripts, with the texts and options of lua-cjson 2.1.0.
//!
//! Deviation: nesting is limited to 1000 also where a script asks for more.

mod decode;
mod encode;

use std::sync::Arc;

use mlua::{Function, Lua, MultiValue, Result, Table, Value};
use parking_lot::Mutex;

use crate::script::api::Unlimited;
use crate::script::convert::up_to_zero;
use crate::script::passed::Passed;
use crate::script::watch::Watch;

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
    /// The memory limit of scripts.
    limit: usize,
    /// Lua's `next`.
    next: Function,
}

/// A new instance of the library.
pub(super) fn library(lua: &Lua, limit: usize) -> Result<Table> {
    functions(
        lua,
        Instance {
            options: Arc::default(),
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

type Body<R> = fn(&Passed<'_>, &mut Call<'_>) -> Result<R>;

fn with<R: mlua::IntoLuaMulti + 'static>(
    lua: &Lua,
    instance: &Instance,
    body: Body<R>,
) -> Result<Function> {
    let instance = instance.clone();
    lua.create_function(move |lua, args: MultiValue| {
        let _unlimited = Unlimited::new(lua, instance.limit)?;
        let mut call = Call {
            options: &mut instance.options.lock(),
            watch: Watch::new(lua, instance.limit),
            next: &instance.next,
        };
        body(&Passed::new(lua, &args), &mut call)
    })
}

/// A call of a function of the library.
struct Call<'a> {
    options: &'a mut Options,
    watch: Watch<'a>,
    next: &'a Function,
}

fn encode(args: &Passed<'_>, call: &mut Call<'_>) -> Result<Value> {
    let text = encode::encode(args.lua, call, only(args)?)?;
    Ok(Value::String(args.lua.create_string(text)?))
}

fn decode(args: &Passed<'_>, call: &mut Call<'_>) -> Result<Value> {
    only(args)?;
    let text = args.text(0)?;
    decode::decode(args.lua, call, &text.as_bytes())
}

fn only<'a>(args: &Passed<'a>) -> Result<&'a Value> {
    match args.get(0) {
        Some(value) if args.len() == 1 => Ok(value),
        _ => Err(args.wrong(0, "expected 1 argument")),
    }
}

/// The optional arguments of a function that sets options.
struct Setting<'a>(&'a Passed<'a>);

impl<'a> Setting<'a> {
    fn new(args: &'a Passed<'a>, most: usize) -> Result<Setting<'a>> {
        if args.len() > most {
            return Err(args.wrong(most, "found too many arguments"));
        }
        Ok(Setting(args))
    }

    fn integer(&self, at: usize, low: i64, high: i64, was: i64) -> Result<i64> {
        if self.0.given(at).is_none() {
            return Ok(was);
        }
        let n = i64::from(self.0.int(at)?);
        if (low..=high).contains(&n) {
            Ok(n)
        } else {
            // Whichever it is, the first is blamed.
            let why = format!("expected integer between {low} and {high}");
            Err(self.0.wrong(0, why))
        }
    }

    /// One of the words, by its position; a boolean stands for the first two.
    fn choice(&self, at: usize, words: &[&str], was: usize) -> Result<usize> {
        match self.0.given(at) {
            None => return Ok(was),
            Some(Value::Boolean(on)) => return Ok(usize::from(*on)),
            Some(_) => {}
        }
        let word = self.0.text(at)?;
        let word = word.as_bytes();
        let word = up_to_zero(&word);
        let known = words.iter().position(|w| w.as_bytes() == word);
        known.ok_or_else(|| self.0.wrong(at, [b"invalid option '", word, b"'"].concat()))
    }
}

const SWITCH: &[&str] = &["off", "on"];
const LARGEST: i64 = i32::MAX as i64;

fn sparse_array(args: &Passed<'_>, call: &mut Call<'_>) -> Result<(bool, i64, i64)> {
    let options = &mut *call.options;
    let set = Setting::new(args, 3)?;
    options.sparse_convert = set.choice(0, SWITCH, usize::from(options.sparse_convert))? == 1;
    options.sparse_ratio = set.integer(1, 0, LARGEST, options.sparse_ratio)?;
    options.sparse_safe = set.integer(2, 0, LARGEST, options.sparse_safe)?;
    Ok((
        options.sparse_convert,
        options.sparse_ratio,
        options.sparse_safe,
    ))
}

fn encode_max_depth(args: &Passed<'_>, call: &mut Call<'_>) -> Result<i64> {
    let options = &mut *call.options;
    let set = Setting::new(args, 1)?;
    options.encode_depth = set.integer(0, 1, LARGEST, options.encode_depth)?;
    Ok(options.encode_depth)
}

fn decode_max_depth(args: &Passed<'_>, call: &mut Call<'_>) -> Result<i64> {
    let options = &mut *call.options;
    let set = Setting::new(args, 1)?;
    options.decode_depth = set.integer(0, 1, LARGEST, options.decode_depth)?;
    Ok(options.decode_depth)
}

fn number_precision(args: &Passed<'_>, call: &mut Call<'_>) -> Result<usize> {
    let options = &mut *call.options;
    let set = Setting::new(args, 1)?;
    let precision = set.integer(0, 1, 14, options.precision as i64)?;
    options.precision = usize::try_from(precision).unwrap_or(14);
    Ok(options.precision)
}

fn keep_buffer(args: &Passed<'_>, call: &mut Call<'_>) -> Result<bool> {
    let options = &mut *call.options;
    let set = Setting::new(args, 1)?;
    options.keep_buffer = set.choice(0, SWITCH, usize::from(options.keep_buffer))? == 1;
    Ok(options.keep_buffer)
}

fn encode_invalid_numbers(args: &Passed<'_>, call: &mut Call<'_>) -> Result<Value> {
    let options = &mut *call.options;
    let set = Setting::new(args, 1)?;
    options.encode_invalid = set.choice(0, &["off", "on", "null"], options.encode_invalid)?;
    match options.encode_invalid {
        2 => Ok(Value::String(args.lua.create_string("null")?)),
        on => Ok(Value::Boolean(on == 1)),
    }
}

fn decode_invalid_numbers(args: &Passed<'_>, call: &mut Call<'_>) -> Result<bool> {
    let options = &mut *call.options;
    let set = Setting::new(args, 1)?;
    options.decode_invalid = set.choice(0, SWITCH, usize::from(options.decode_invalid))? == 1;
    Ok(options.decode_invalid)
}
