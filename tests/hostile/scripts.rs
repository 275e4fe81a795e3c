//! Hostile scripts: each ends in an error, or SCRIPT KILL ends it soon. The process stays, takes no more memory than scripts may
//! have, and goes on serving.

use crate::common::client::Got;
use crate::common::{Client, Reply, Server};
use std::time::{Duration, Instant};

/// What scripts may make the process take. A script ends where it has more than 512 MiB, its reply included; how soon
/// the allocator gives back what was freed is its own business.
const MEMORY: u64 = 1280 << 20;

/// How long SCRIPT KILL may take, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(20);

/// Scripts that end by themselves.
const ENDING: &[&str] = &[
    // Deep recursion.
    "local function f() return 1 + f() end return f()",
    "local function f(...) return f(1, ...) + 1 end return f()",
    "local function f() return pcall(f) end return f()",
    "local function f() return 1 + select(2, pcall(f)) end return f()",
    "local function f() return xpcall(f, f) end return f()",
    "local function f(e) return xpcall(error, f) end return xpcall(error, f)",
    "local function f(s) return (s:gsub('.', f)) end return f('a')",
    "local function f() return coroutine.wrap(f)() end return f()",
    "local function f() return coroutine.wrap(function() return pcall(f) end)() end return f()",
    "local function f() local ok, e = coroutine.resume(coroutine.create(f)) return ok end return f()",
    "local function f() return loadstring('return ...')(pcall(f)) end return f()",
    "local function f() table.sort({1, 2, 3}, f) end f()",
    "local function f() table.foreach({1}, f) end f()",
    "return setmetatable({}, {__index = function(t, k) return t[k .. k] end}).x",
    "local t = setmetatable({}, {__newindex = function(t, k, v) t[k] = v end}) t.x = 1",
    "local t = setmetatable({}, {__concat = function(a, b) return a .. b end}) return t .. t",
    "local m = {__eq = function(a, b) return a == b end} return setmetatable({}, m) == setmetatable({}, m)",
    "local t = setmetatable({}, {__lt = function(a, b) return a < b end}) return t < t",
    "local t = setmetatable({}, {__call = function(t) return 1 + t() end}) return t()",
    "local t = setmetatable({}, {__tostring = function(t) return tostring(t) end}) return tostring(t)",
    "local t = {} for i = 1, 1e5 do t = setmetatable({}, {__index = t}) end return t.x",
    // Sources that nest.
    "return loadstring('return ' .. ('('):rep(1e5) .. '1' .. (')'):rep(1e5))",
    "return loadstring('return ' .. ('{'):rep(1e5) .. ('}'):rep(1e5))",
    "return loadstring(('do '):rep(1e5) .. ('end '):rep(1e5))",
    "return loadstring(('function() return '):rep(1e5))",
    "return loadstring('return ' .. ('not '):rep(1e6) .. '1')",
    "return loadstring('return ' .. ('1 ..'):rep(1e5) .. '1')",
    "return loadstring('return ' .. ('f('):rep(1e5))",
    "return loadstring('local ' .. ('a,'):rep(1e5) .. 'a')",
    "return loadstring(string.dump(function() end))",
    "return loadstring('\\27LuaQ' .. ('\\255'):rep(1000))",
    // Patterns that repeat, and strings that are long.
    "return string.find('', ('a*'):rep(1e6))",
    "return string.find('', ('(a'):rep(1e5))",
    "return ('x'):rep(1e5):match(('x-'):rep(1e5))",
    "return string.gsub(12345, ('x?'):rep(1e5), '')",
    "return string.rep('', 1e15)",
    "return string.rep('x', 1e15)",
    "return string.rep(('x'):rep(1e6), 1e6)",
    "return string.rep('x', -1e15)",
    "return string.format('%99999d', 1)",
    "return string.format('%.99999f', 1)",
    "return string.format(('%d'):rep(1e5))",
    "return ('x'):rep(1e5):byte(1, -1)",
    "return unpack({}, 1, 1e15)",
    "return unpack({}, -1e15, 1e15)",
    "return table.concat({}, 'x', 1, 1e15)",
    "return table.concat({'x'}, ('y'):rep(1e6), 1, 1)",
    "return select(-1e15, 1)",
    "local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function() return true end)",
    "local t = {} for i = 1, 9999 do t[i] = i % 7 end table.sort(t, function(a, b) t[1] = nil return a < b end)",
    // Texts and bytes that lie.
    "return cjson.decode(('['):rep(1e6))",
    "return cjson.decode(('{\"a\":'):rep(1e6))",
    "local t = {} for i = 1, 1e5 do t = {t} end return cjson.encode(t)",
    "return cjson.encode({[1e15] = 1})",
    "cjson.encode_sparse_array(true) return cjson.encode({[2^31 - 1] = 1})",
    "cjson.encode_sparse_array(false, 0) return cjson.encode({[2^31] = 1})",
    "cjson.decode_max_depth(2^31 - 1) return cjson.decode(('['):rep(1e6))",
    "cjson.encode_max_depth(2^31 - 1) local t = {} t[1] = t return cjson.encode(t)",
    "local t = {} for i = 1, 1e5 do t = {t} end return cmsgpack.pack(t)",
    "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
    "return cmsgpack.unpack(('\\221\\255\\255\\255\\255'):rep(1e5))",
    "return cmsgpack.unpack(('\\223\\255\\255\\255\\255'):rep(1e5))",
    "return cmsgpack.unpack('\\219\\255\\255\\255\\255')",
    "return cmsgpack.unpack_limit('\\1', 2^62, 2^62)",
    "return cmsgpack.unpack(('\\192'):rep(1e6))",
    "return struct.unpack('c2147483647', 'x')",
    "return struct.unpack('bc0', '\\255x')",
    "return struct.unpack('dc0', struct.pack('d', 2^63))",
    "return struct.unpack('b', 'x', -2^62)",
    "return struct.unpack(('b'):rep(1e5), ('x'):rep(1e5))",
    "return struct.size(('c2147483647'):rep(1e5))",
    "return struct.pack('!1073741824i32', 1)",
    "return struct.pack('c2147483647', 'x')",
    // Tampering.
    "getmetatable('').__index = function() end",
    "getmetatable(_G).__index = nil",
    "setmetatable(string, {__index = function() end})",
    "rawset(redis, 'call', nil)",
    "return rawget(_G, 'debug') or rawget(_G, 'io') or rawget(_G, 'getfenv') or rawget(_G, 'newproxy')",
    "return os.execute or os.exit or os.remove or os.getenv",
    "setmetatable({}, {__gc = function() while true do end end}) collectgarbage() return 1",
    "collectgarbage('setpause', 1e9) return 1",
    "error(setmetatable({}, {__index = error, __tostring = error}))",
    "error({err = setmetatable({}, {__tostring = error})})",
    "return setmetatable({}, {__index = error})",
    "return redis.error_reply(('x\\r\\n'):rep(1000))",
    // Replies without end.
    "local t = {} t[1] = t return t",
    "local t = {} t.map = {t} return {map = t}",
    "local t = {} for i = 1, 1e5 do t = {t} end return t",
    "local t = {} for i = 1, 1e5 do t = {map = {a = t}} end return t",
];

/// Scripts that use up memory, until they get an error.
const GREEDY: &[&str] = &[
    "local s = 'x' while true do s = s .. s end",
    "local t = {} for i = 1, 1e9 do t[i] = i end",
    "local t = {} while true do t[{}] = {} end",
    "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    "local s = ('x'):rep(1e6) return s:gsub('x', s)",
    "local t = {} for i = 1, 100 do t[i] = ('x'):rep(1e5) end return table.concat(t, ('y'):rep(1e7))",
    "return cjson.decode('[' .. ('{},'):rep(2e7) .. '1]')",
    "return #cmsgpack.unpack('\\221\\3\\0\\0\\0' .. ('\\145\\1'):rep(4e7))",
    "local s = ('x'):rep(1e6) return cmsgpack.pack(unpack((function() local t = {} for i = 1, 3000 do t[i] = s end \
     return t end)()))",
    "local s = ('x'):rep(1e6) return struct.pack(('s'):rep(3000), unpack((function() local t = {} for i = 1, 3000 do \
     t[i] = s end return t end)()))",
    "local s = ('x'):rep(1e6) local t = {} for i = 1, 1e4 do t[i] = s end return t",
    "local t = {} for i = 1, 40 do t = {t, t} end return t",
    "local t = {} for i = 1, 40 do t = {t, t} end cjson.encode(t)",
    "local t = {} for i = 1, 15 do local n = {} for j = 1, 20 do n[j] = t end t = n end return cmsgpack.pack(t)",
    "redis.call('SETRANGE', 'k', 1e7, 'x') local t = {} while true do t[#t + 1] = redis.call('GET', 'k') .. #t end",
];

/// Scripts that only SCRIPT KILL ends.
const ENDLESS: &[&str] = &[
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "while true do coroutine.wrap(function() while true do coroutine.yield() end end)() end",
    "local co = coroutine.wrap(function() while true do pcall(coroutine.yield) end end) while true do co() end",
    "while true do coroutine.resume(coroutine.create(function() for i = 1, 90 do end end)) end",
    "while true do load(function() return 'x = ' end) end",
    "while true do loadstring('return ' .. ('1,'):rep(1e5) .. '1') end",
    "while true do redis.pcall('NOSUCH') end",
    "while true do pcall(redis.call, 'GET') end",
    "while true do redis.call('PING') end",
    "while true do collectgarbage() end",
    "while true do pcall(error, setmetatable({}, {__index = function() while true do end end})) end",
    "while true do pcall(string.rep, 'x', 5e8) end",
    "while true do local s = ('x'):rep(1e7) end",
    "local s = 'x' for i = 1, 23 do s = s .. s end while true do s:upper() end",
    "local s = 'x' for i = 1, 23 do s = s .. s end while true do local t = s .. 'y' end",
    "local s = ('x'):rep(1e6) while true do s:gsub('.', '%0') end",
    "local s = ('x'):rep(1e7) while true do redis.sha1hex(s) end",
    "local t = {} for i = 1, 1e6 do t[i] = '' end while true do table.concat(t) end",
    "local t = {} for i = 1, 1e6 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
    "while true do local t = {} for i = 1, 1e5 do t[i] = i % 7 end table.sort(t) end",
    "local t = {} for i = 1, 1e5 do t[i] = i end while true do pcall(table.sort, t, rawequal) end",
    "return string.find(('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(40))",
    "return ('a'):rep(1e6):match('.-.-.-b')",
    "return ('a'):rep(1e6):find('(a*)%1b')",
    "return ('('):rep(1e6):find('%b()')",
    "return ('x'):rep(1e6):match('[' .. ('a'):rep(1e6) .. ']')",
    "return ('a'):rep(2e6):gsub(('a'):rep(1e6) .. 'b', '')",
    "return ('a'):rep(30):match(('(a*)'):rep(30) .. 'b')",
    "for w in ('a'):rep(1e6):gmatch('a-b') do end",
    "return ('x'):rep(1e5):gsub('.', function() while true do end end)",
    "local t = {} for i = 1, 60 do t = {t, t} end while true do pcall(cmsgpack.pack, t) end",
    "local s = cjson.encode({1, 2, 3}) while true do cjson.decode(s) end",
    "return setmetatable({}, {__index = function() while true do end end}).x",
];

fn start() -> Server {
    Server::redkeep(&["--lua-time-limit", "50"])
}

/// The reply of a script, which is killed if it does not come by itself.
fn run(server: &Server, script: &str, patience: Duration) -> Reply {
    let (mut client, mut killer) = (server.client(), server.client());
    client.send(&["EVAL", script, "0"]).unwrap();
    if let Got::Reply(reply) = client.receive(patience).unwrap() {
        return reply;
    }
    let until = Instant::now() + SOON;
    while Instant::now() < until {
        killer.send(&["SCRIPT", "KILL"]).unwrap();
        match client.receive(Duration::from_millis(200)).unwrap() {
            Got::Reply(reply) => return reply,
            Got::Nothing => {}
            Got::Closed => panic!("{script}: the connection was closed\n{}", server.log()),
        }
    }
    panic!("{script}: SCRIPT KILL has not ended it");
}

/// The server is there, serves, and has given back what the script took.
fn goes_on(server: &mut Server, script: &str) {
    assert!(
        server.alive(),
        "{script}: the server died\n{}",
        server.log()
    );
    let mut client: Client = server.client();
    assert_eq!(client.run("PING").text(), "PONG", "{script}");
    let one = client.call(&["EVAL", "return 1", "0"]).unwrap();
    assert_eq!(one, Reply::Int(1), "{script}");
    if let Some(resident) = server.resident() {
        assert!(resident < MEMORY, "{script}: {resident} bytes");
    }
}

#[test]
fn what_goes_too_deep_or_too_far_ends() {
    // Some replies nest, and are read by recursion here.
    const STACK: usize = 256 << 20;
    let deep = std::thread::Builder::new().stack_size(STACK);
    deep.spawn(all_that_end).unwrap().join().unwrap();
}

fn all_that_end() {
    let mut server = start();
    for script in ENDING {
        let reply = run(&server, script, SOON);
        let text = reply.text();
        assert!(!text.contains("killed by user"), "{script}: {text}");
        assert!(!text.contains("Internal error"), "{script}: {text}");
        goes_on(&mut server, script);
    }
}

#[test]
fn what_takes_too_much_memory_ends() {
    let mut server = start();
    for script in GREEDY {
        let reply = run(&server, script, Duration::from_secs(2));
        let text = reply.text();
        let ended = text.contains("not enough memory") || text.contains("killed by user");
        let few = matches!(reply, Reply::Int(_)) || text.contains("too many");
        assert!(ended || few, "{script}: {text:.200}");
        goes_on(&mut server, script);
        server.client().run("DEL k");
    }
}

#[test]
fn what_has_no_end_is_killed() {
    let mut server = start();
    for script in ENDLESS {
        let reply = run(&server, script, Duration::from_millis(100));
        let text = reply.text();
        assert!(
            text.starts_with("ERR Script killed by user with SCRIPT KILL..."),
            "{script}: {text}"
        );
        goes_on(&mut server, script);
    }
}

#[test]
fn others_are_told_that_a_script_runs_and_served_again_after_it() {
    let server = start();
    let (mut client, mut other) = (server.client(), server.client());
    client.send(&["EVAL", "while true do end", "0"]).unwrap();
    let until = Instant::now() + SOON;
    while !other.run("PING").text().starts_with("BUSY") {
        assert!(Instant::now() < until, "the script never became busy");
    }
    let mut late = server.client();
    assert!(
        late.run("GET k")
            .text()
            .starts_with("BUSY Redis is busy running a script.")
    );
    assert!(late.run("FUNCTION KILL").text().starts_with("BUSY"));
    assert_eq!(late.run("SCRIPT KILL").text(), "OK");
    assert!(
        client
            .reply()
            .unwrap()
            .text()
            .starts_with("ERR Script killed")
    );
    assert_eq!(other.run("PING").text(), "PONG");
    assert_eq!(late.run("PING").text(), "PONG");
}
