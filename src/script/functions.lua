-- Makes the world of functions of that of scripts, which prelude.lua has built: `G` is what is behind its global table,
-- `define` notes a function that a library registers and says why it may not, `fail` raises an error reply, `bits` has
-- the bits of the flags.
-- Everything here runs under the chunk name `redkeep`, too.

local host, G, define, fail, bits = ...

local error, next, select, setmetatable, tostring, type, xpcall =
  error, next, select, setmetatable, tostring, type, xpcall
local lower = string.lower
local freeze, refuse, failed, redis = host.freeze, host.refuse, host.failed, host.redis

-- What functions get as arguments, scripts have there.
G.KEYS, G.ARGV = nil, nil
redis.breakpoint, redis.debug, redis.replicate_commands = nil, nil, nil

-- The global table of libraries and their functions: while a library is loaded it shows next to nothing, later all.
local meta = { __index = G, __newindex = refuse }
local env = setmetatable({}, meta)

local loading = false
-- Callbacks of libraries that were loaded and have no numbers yet, in order.
local fresh

local function is_string(value)
  local kind = type(value)
  return kind == 'string' or kind == 'number'
end

local function flags_of(names)
  local flags, i = {}, 1
  while names[i] ~= nil do
    local name = names[i]
    local bit = is_string(name) and bits[lower(name)]
    if not bit then
      fail('unknown flag given')
    end
    flags[bit] = true
    i = i + 1
  end
  local sum = 0
  for bit in next, flags do
    sum = sum + bit
  end
  return sum
end

local function named(given)
  if type(given) ~= 'table' then
    fail('calling redis.register_function with a single argument is only applicable to Lua table '
      .. '(representing named arguments).')
  end
  local name, callback, description
  local flags = 0
  for key, value in next, given do
    if not is_string(key) then
      fail('named argument key given to redis.register_function is not a string')
    end
    key = lower(key)
    if key == 'function_name' then
      if not is_string(value) then
        fail('function_name argument given to redis.register_function must be a string')
      end
      name = value
    elseif key == 'description' then
      if not is_string(value) then
        fail('description argument given to redis.register_function must be a string')
      end
      description = value
    elseif key == 'callback' then
      if type(value) ~= 'function' then
        fail('callback argument given to redis.register_function must be a function')
      end
      callback = value
    elseif key == 'flags' then
      if type(value) ~= 'table' then
        fail('flags argument to redis.register_function must be a table representing function flags')
      end
      flags = flags_of(value)
    else
      fail('unknown argument given to redis.register_function')
    end
  end
  if not name then
    fail('redis.register_function must get a function name argument')
  elseif not callback then
    fail('redis.register_function must get a callback argument')
  end
  return name, callback, flags, description
end

local function positional(name, callback)
  if not is_string(name) then
    fail('first argument to redis.register_function must be a string')
  elseif type(callback) ~= 'function' then
    fail('second argument to redis.register_function must be a function')
  end
  return name, callback, 0
end

local function register(...)
  if not loading then
    fail('redis.register_function can only be called on FUNCTION LOAD command')
  end
  local n = select('#', ...)
  if n < 1 or n > 2 then
    fail('wrong number of arguments to redis.register_function')
  end
  local read = n == 1 and named or positional
  local name, callback, flags, description = read(...)
  local refused = define(tostring(name), flags, description and tostring(description))
  if refused then
    fail(refused)
  end
  fresh[#fresh + 1] = callback
end

local function unknown(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

local api = { register_function = register }
for _, name in next, {
  'log', 'LOG_DEBUG', 'LOG_VERBOSE', 'LOG_NOTICE', 'LOG_WARNING', 'REDIS_VERSION', 'REDIS_VERSION_NUM',
} do
  api[name] = redis[name]
end
setmetatable(api, { __index = unknown })
local library = { redis = freeze(api) }
library.server = library.redis
setmetatable(library, { __index = unknown })

-- Runs the chunk of a library; gives the error, if there is one.
local function load(chunk)
  fresh = fresh or {}
  loading, meta.__index = true, library
  local ok, e = xpcall(chunk, failed)
  loading, meta.__index = false, G
  if not ok then
    return type(e) == 'table' and e.err or 'ERR ' .. tostring(e)
  end
end

-- Nothing of what was loaded is kept any further.
local function discard()
  loading, meta.__index = false, G
  fresh = nil
end

-- Callbacks by number.
local functions = {}

local function adopt(at, number)
  functions[number] = fresh[at]
end

-- A call with an error handler, to which nothing can be handed but this way. What it got is let go of before it runs.
local callback, keys, args

-- No tail call: errors must find the place in the function.
local function call()
  local k, a = keys, args
  keys, args = nil, nil
  local value = callback(k, a)
  return value
end

local function guarded(number, k, a)
  callback, keys, args = functions[number], k, a
  if not callback then
    return false, { err = 'ERR Function not found' }
  end
  return xpcall(call, failed)
end

return env, functions, guarded, load, discard, adopt
