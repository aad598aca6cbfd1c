-- prelude: prepended to every script (but init) when it is loaded.
-- KEYS[1] is the shard's `meta`; every other key is made from its prefix, so all share one hash slot.
-- A record is `state|g|owner|queue:priority|f|c|flags`, or, ended, `state|g|owner|outcome`.
local META = KEYS[1]
local P = string.sub(META, 1, -5)
local head = redis.pcall('HMGET', META, 'v', 'frozen', 'g')
if head.err or not head[1] then return redis.error_reply('TQNOMETA the namespace has no meta') end
if head[1] ~= '1' then return redis.error_reply('TQFORMAT ' .. head[1]) end
if head[2] then return redis.error_reply('TQFROZEN the namespace is frozen') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local AGENDA = P .. 'agenda'

-- Integers past 2^46 lose digits in Lua's own conversion; this one is exact to 2^53.
local function int(number) return string.format('%.0f', number) end

-- Only a table can carry .err: indexing a number raises.
local function failed(reply) return type(reply) == 'table' and reply.err end

-- Whether a queue's entry in `queues`, or the state that begins it, has it paused.
local function is_paused(entry)
  return entry == 'paused' or type(entry) == 'string' and string.sub(entry, 1, 7) == 'paused|'
end

-- Leave a token for a process that blocks on `queue`, eight at most, none while it is paused.
local function wake(queue, entry)
  if is_paused(entry or redis.pcall('HGET', P .. 'queues', queue)) then return end
  local tokens = P .. 'wake:' .. queue
  local waiting = redis.pcall('LLEN', tokens)
  if type(waiting) == 'number' and waiting < 8 then redis.pcall('RPUSH', tokens, '1') end
end

-- Put bytes that fit nowhere on record, capped; the keys themselves go after two weeks.
local function quarantine(reason, id)
  redis.pcall('XADD', P .. 'quarantine', 'MAXLEN', '~', 1000, '*', 'reason', reason, 'id', id)
  redis.pcall('PEXPIRE', P .. 't:' .. id, 1209600000)
  redis.pcall('PEXPIRE', P .. 'b:' .. id, 1209600000)
end

-- Move a key of a wrong type out of the way, so that what it should hold can grow anew; true if it was.
local function set_aside(tail, kind)
  local found = redis.call('TYPE', P .. tail)
  found = found.ok or found
  if found == 'none' or found == kind then return false end
  redis.call('RENAME', P .. tail, P .. 'wrong:' .. tail)
  redis.call('PEXPIRE', P .. 'wrong:' .. tail, 1209600000)
  quarantine('type ' .. found, tail)
  return true
end

-- An id that stands where a task should, without one: what there is of it goes on record.
local function astray(id)
  if redis.call('EXISTS', P .. 't:' .. id, P .. 'b:' .. id) > 0 then
    quarantine('record', id)
  else
    redis.pcall('SADD', P .. 'limbo', id)
  end
end

local function queue_of(list) return string.match(list, '^([^:]*):') end

-- When a task with these flags expires, in ms as text; '' for never.
local function expires_of(id, flags)
  local expires = string.find(flags, 'x', 1, true) and redis.pcall('HGET', P .. 'x:' .. id, 'expires')
  return type(expires) == 'string' and #expires < 17 and string.match(expires, '^%d+$') or ''
end

-- The list of a task that is ready has a wrong type: again in ten seconds, when a sweep has mended it.
local function put_off(id) redis.pcall('ZADD', AGENDA, int(now + 10000), 't:' .. id) end

-- Due at `due`: a record's entry in the agenda; whoever sleeps past it is woken.
local function schedule(id, due, list)
  redis.pcall('ZADD', AGENDA, int(due), 't:' .. id)
  local first = redis.pcall('ZRANGE', AGENDA, 0, 0)
  if not failed(first) and first[1] == 't:' .. id then wake(queue_of(list)) end
end
