-- prelude: prepended to every script (but init) when it is loaded.
-- Only what most of them use stands here: each call makes each function anew.
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

local function queue_of(list) return string.match(list, '^([^:]*):') end

-- When a task with these flags expires, in ms as text; '' for never.
local function expires_of(id, flags)
  local expires = string.find(flags, 'x', 1, true) and redis.pcall('HGET', P .. 'x:' .. id, 'expires')
  return type(expires) == 'string' and #expires < 17 and string.match(expires, '^%d+$') or ''
end
