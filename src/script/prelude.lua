-- Builds the world that scripts see, out of the plain libraries and of what the host gives in `host`.
-- What scripts must not change is frozen: an empty table that reads through to the real one and refuses
-- writing. Everything here runs under the chunk name `redkeep`, which messages and positions leave out.

local host = ...

local assert, collectgarbage, error, gcinfo, getmetatable, ipairs, load, loadstring, next, pairs, pcall,
  rawequal, rawget, rawset, select, setmetatable, tonumber, tostring, type, unpack, xpcall =
  assert, collectgarbage, error, gcinfo, getmetatable, ipairs, load, loadstring, next, pairs, pcall,
  rawequal, rawget, rawset, select, setmetatable, tonumber, tostring, type, unpack, xpcall
local byte, concat, rep, sub = string.byte, table.concat, string.rep, string.sub
local insert, setn, sort = table.insert, table.setn, table.sort
local dump = string.dump
local create, resume, wrap = coroutine.create, coroutine.resume, coroutine.wrap
local caught, revive, stopped, tick = host.caught, host.revive, host.stopped, host.tick

-- What is longer is worth a look at the clock.
local LONG = host.long

local READONLY = 'Attempt to modify a readonly table'

-- Frozen tables: what they show, and the metatable they admit to.
local real_of, meta_of = {}, {}

local function refuse()
  error(READONLY, 2)
end

local function freeze(real, meta)
  local frozen = setmetatable({}, { __index = real, __newindex = refuse })
  real_of[frozen] = real
  meta_of[frozen] = meta
  return frozen
end

local function thawed(t)
  if real_of[t] then
    error(READONLY, 0)
  end
  return t
end

-- An error that a host function raised is an object of the host's: pcall gives its text, everything else the
-- table that scripts know. A script that must end is let through nowhere.

local function after_pcall(ok, ...)
  if ok then
    return true, ...
  end
  return false, caught((...))
end

local function after_resume(ok, ...)
  if ok then
    return true, ...
  end
  return false, revive((...))
end

local function after_xpcall(ok, ...)
  if not ok then
    stopped()
  end
  return ok, ...
end

local function after_load(chunk, message)
  if chunk then
    return chunk
  end
  return nil, revive(message)
end

local G = {
  _VERSION = _VERSION,
  assert = assert,
  error = error,
  gcinfo = gcinfo,
  ipairs = ipairs,
  rawequal = rawequal,
  select = select,
  tonumber = tonumber,
  tostring = tostring,
  type = type,
  unpack = unpack,
}

-- What is called without anything to call is the first result.
function G.pcall(...)
  if ... == nil and select('#', ...) == 0 then
    return after_pcall(pcall(true))
  end
  return after_pcall(pcall(...))
end

function G.xpcall(f, ...)
  local handler = ...
  if select('#', ...) == 0 then
    return xpcall(f)
  end
  local guarded = handler
  if type(handler) == 'function' then
    guarded = function(e)
      return handler(revive(e))
    end
  end
  return after_xpcall(xpcall(f, guarded))
end

function G.getmetatable(t)
  if real_of[t] then
    return meta_of[t]
  end
  return getmetatable(t)
end

function G.setmetatable(t, meta)
  return setmetatable(thawed(t), meta)
end

function G.rawget(t, key)
  return rawget(real_of[t] or t, key)
end

function G.rawset(t, key, value)
  return rawset(thawed(t), key, value)
end

function G.next(t, key)
  return next(real_of[t] or t, key)
end

-- What is frozen is walked through as it stands: the real table must not come into a script's hands.
function G.pairs(t)
  if real_of[t] then
    return G.next, t, nil
  end
  return pairs(t)
end

-- Only collecting and counting: switching the collector off would outlast the script.
function G.collectgarbage(option, argument)
  if option == nil or option == 'collect' or option == 'count' or option == 'step' then
    return collectgarbage(option, argument)
  elseif option == 'stop' or option == 'restart' then
    return 0
  elseif option == 'setpause' or option == 'setstepmul' then
    return 200
  end
  return collectgarbage(option, argument)
end

-- Compiled chunks are not to be loaded. A space before their first byte makes them an ordinary syntax error.
function G.loadstring(...)
  local text, name = ...
  if type(text) == 'string' and #text > LONG / 10 then
    tick()
  end
  if type(text) == 'string' and byte(text, 1) == 27 then
    return loadstring(' ' .. text, name or text)
  end
  return loadstring(...)
end

function G.load(...)
  local reader, name = ...
  if type(reader) ~= 'function' then
    return load(...)
  end
  local first = true
  return after_load(load(function()
    local piece = reader()
    if first and type(piece) == 'string' and piece ~= '' then
      first = false
      if byte(piece, 1) == 27 then
        return ' ' .. piece
      end
    end
    return piece
  end, name))
end

local strings, tables, threads, maths = {}, {}, {}, {}
for name, value in pairs(string) do
  strings[name] = value
end
for name, value in pairs(table) do
  tables[name] = value
end
for name, value in pairs(coroutine) do
  threads[name] = value
end
for name, value in pairs(math) do
  maths[name] = value
end

-- Repeating nothing takes as long as repeating something.
function strings.rep(s, ...)
  if s == '' and ... then
    return ''
  end
  local made = rep(s, ...)
  if #made > LONG then
    tick()
  end
  return made
end

-- What takes long with a long string is no single instruction.
local lower, reverse, upper = string.lower, string.reverse, string.upper
local function pause(s)
  if type(s) == 'string' and #s > LONG then
    tick()
  end
end
function strings.lower(s, ...)
  pause(s)
  return lower(s, ...)
end
function strings.reverse(s, ...)
  pause(s)
  return reverse(s, ...)
end
function strings.upper(s, ...)
  pause(s)
  return upper(s, ...)
end

-- Lua's own matcher looks up neither at the clock nor at the depth of its recursion. Where a pattern could take it
-- more than a fraction of a second, or deep, the host's matcher does the work. How often a pattern walks over the
-- subject is remembered for some patterns.

local find, match, gmatch, gsub = string.find, string.match, string.gmatch, string.gsub
local floor = math.floor
local seek, search, repetitions = host.find, host.search, host.repetitions
local MUCH, DEEP, BRIEF = 1e8, 100, 32
local known, known_count = {}, 0

local function heavy(s, pattern)
  local n = known[pattern]
  if not n then
    if type(pattern) ~= 'string' then
      return false
    end
    n = repetitions(pattern)
    if known_count > 500 then
      known, known_count = {}, 0
    end
    known[pattern], known_count = n, known_count + 1
  end
  if type(s) ~= 'string' then
    return n > DEEP and type(s) == 'number'
  end
  pause(s)
  local length = #pattern
  local work = (#s + 1) ^ (n + 1)
  if length > BRIEF then
    work = work * length
  end
  return work > MUCH or n > DEEP
end

-- Where to begin, from 0; and the pattern without its anchor.
local function prepare(s, pattern, init)
  local at = floor(tonumber(init) or 1)
  if at < 0 then
    at = at + #s + 1
  end
  at = at < 1 and 0 or at > #s and #s or at - 1
  if byte(pattern, 1) == 94 then
    return at, sub(pattern, 2), true
  end
  return at, pattern, false
end

-- The captures of a match, or the whole of it where there are none.
local function captured(s, first, last, ...)
  if not first then
    return nil
  elseif select('#', ...) == 0 then
    return sub(s, first, last)
  end
  return ...
end

function strings.find(s, pattern, init, plain, ...)
  if not heavy(s, pattern) then
    return find(s, pattern, init, plain, ...)
  end
  s = tostring(s)
  local at = prepare(s, pattern, init)
  return seek(s, pattern, at, plain and true or false)
end

function strings.match(s, pattern, ...)
  if not heavy(s, pattern) then
    return match(s, pattern, ...)
  end
  s = tostring(s)
  local at, bare, anchored = prepare(s, pattern, ...)
  return captured(s, search(s, bare, at, anchored))
end

function strings.gmatch(s, pattern, ...)
  if not heavy(s, pattern) then
    return gmatch(s, pattern, ...)
  end
  s = tostring(s)
  local at = 0
  local function advance(first, last, ...)
    if first then
      at = last < first and last + 1 or last
    else
      at = #s + 1
    end
    return captured(s, first, last, ...)
  end
  return function()
    if at > #s then
      return nil
    end
    return advance(search(s, pattern, at, false))
  end
end
strings.gfind = strings.gmatch

-- What takes the place of a match: the captures are numbered as in `%1`, `%0` is the whole match.
local function replacement(repl, whole, ...)
  local value
  if type(repl) == 'string' then
    local captures = { ... }
    return (gsub(repl, '%%(.?)', function(c)
      if c == '0' or (c == '1' and captures[1] == nil) then
        return whole
      elseif c ~= '' and find(c, '%d') then
        return captures[tonumber(c)] or error('invalid capture index', 0)
      end
      return c
    end))
  end
  local first = ...
  if select('#', ...) == 0 then
    first = whole
  end
  if type(repl) == 'table' then
    value = repl[first]
  else
    value = select('#', ...) == 0 and repl(whole) or select('#', ...) > 0 and repl(...)
  end
  if not value then
    return whole
  elseif type(value) ~= 'string' and type(value) ~= 'number' then
    error('invalid replacement value (a ' .. type(value) .. ')', 0)
  end
  return value
end

local function replaced(s, repl, first, last, ...)
  if not first then
    return nil
  end
  return first, last, replacement(repl, sub(s, first, last), ...)
end

function strings.gsub(s, pattern, repl, most, ...)
  local kind = type(repl)
  if kind == 'number' then
    repl, kind = tostring(repl), 'string'
  end
  if not heavy(s, pattern) or kind ~= 'string' and kind ~= 'table' and kind ~= 'function' then
    return gsub(s, pattern, repl, most, ...)
  end
  s = tostring(s)
  most = tonumber(most) or #s + 1
  local _, bare, anchored = prepare(s, pattern, 1)
  local parts, at, count = {}, 0, 0
  while count < most do
    local first, last, value = replaced(s, repl, search(s, bare, at, anchored))
    if not first then
      break
    end
    count = count + 1
    parts[#parts + 1] = sub(s, at + 1, first - 1)
    parts[#parts + 1] = value
    if last >= first then
      at = last
    elseif first <= #s then
      parts[#parts + 1] = sub(s, first, first)
      at = first
    else
      at = #s + 1
    end
    if at > #s or anchored then
      break
    end
  end
  parts[#parts + 1] = sub(s, at + 1)
  return concat(parts), count
end

function tables.insert(t, ...)
  return insert(thawed(t), ...)
end

-- Sorting compares a square of the elements if they are laid out for it. Where they are many, each comparison runs
-- instructions, which are counted.
local less = host.less
local MANY = 200
function tables.sort(t, before)
  if type(t) ~= 'table' or #t < MANY then
    return sort(t, before)
  elseif before == nil then
    return sort(t, less)
  elseif type(before) ~= 'function' or pcall(dump, before) then
    return sort(t, before)
  end
  return sort(t, function(a, b)
    return before(a, b)
  end)
end

function tables.setn(t, n)
  return setn(thawed(t), n)
end

-- The instruction counter that watches over the time belongs to a coroutine each: making and resuming one
-- looks at the clock too.
function threads.create(f)
  tick()
  return create(f)
end

function threads.wrap(f)
  tick()
  return wrap(f)
end

function threads.resume(co, ...)
  tick()
  return after_resume(resume(co, ...))
end

maths.random, maths.randomseed = host.random, host.randomseed

-- What stands in for a function of C has no code that could be dumped, either.
local own = {}
for _, functions in ipairs({ G, strings, tables, threads }) do
  for _, value in pairs(functions) do
    own[value] = true
  end
end
function strings.dump(f, ...)
  return dump(own[f] and dump or f, ...)
end

host.freeze, host.refuse = freeze, refuse

G.string, G.table, G.coroutine, G.math = freeze(strings), freeze(tables), freeze(threads), freeze(maths)
G.os = freeze({ clock = os.clock })
G.redis = freeze(host.redis)
G.server = G.redis
for name, library in pairs(host.libraries) do
  G[name] = freeze(library)
end
G.KEYS, G.ARGV = {}, {}

local string_meta = getmetatable('')
string_meta.__index = strings
string_meta.__metatable = freeze({ __index = G.string })

local global_meta = {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
}
setmetatable(G, global_meta)
G._G = freeze(G, freeze(global_meta))

-- Which of the special forms of a reply a table is: its number and its parts, as convert.rs reads them.
-- Metamethods have no say in it.
local function shape(t)
  if getmetatable(t) ~= nil then
    t = {
      err = rawget(t, 'err'),
      ignore_error_stats_update = rawget(t, 'ignore_error_stats_update'),
      ok = rawget(t, 'ok'),
      double = rawget(t, 'double'),
      map = rawget(t, 'map'),
      set = rawget(t, 'set'),
      big_number = rawget(t, 'big_number'),
      verbatim_string = rawget(t, 'verbatim_string'),
    }
  end
  local v = t.err
  if v ~= nil and type(v) == 'string' then
    return 1, v, t.ignore_error_stats_update
  end
  v = t.ok
  if v ~= nil and type(v) == 'string' then
    return 2, v
  end
  v = t.double
  if v ~= nil and type(v) == 'number' then
    return 3, v
  end
  v = t.big_number
  if v ~= nil and type(v) == 'string' then
    return 6, v
  end
  v = t.verbatim_string
  if v ~= nil and type(v) == 'table' then
    local text, format = rawget(v, 'string'), rawget(v, 'format')
    if type(text) == 'string' and type(format) == 'string' then
      return 7, text, format
    end
  end
  v = t.map
  if v ~= nil and type(v) == 'table' then
    return 4, v
  end
  v = t.set
  if v ~= nil and type(v) == 'table' then
    return 5, v
  end
  return 0
end

-- Compiled scripts are kept here, by number: references from outside are few.
local scripts = {}

-- Scripts that raise no tables need no handler: the host can tell from the message what happened.
local failed = host.failed
local function guarded(number)
  return xpcall(scripts[number], failed)
end

return G._G, G, scripts, guarded, shape
