-- ending: what scripts share that end tasks or give them back; included by `--@include ending`.
--@include misfits

-- Free what the flags of a record stand for: `x` an expiry in the agenda, `k` a unique key.
local function unhold(id, flags)
  if not string.find(flags, '[xk]') then return end
  redis.pcall('ZREM', AGENDA, 'x:' .. id)
  local extra = redis.pcall('HMGET', P .. 'x:' .. id, 'key', 'keep')
  if extra[1] and not extra[2] and redis.pcall('GET', P .. 'u:' .. extra[1]) == id then
    redis.call('UNLINK', P .. 'u:' .. extra[1])
  end
  redis.call('UNLINK', P .. 'x:' .. id)
end

-- A claimed task whose record is none any more. Where it is absent, its id may wait anew in a list, with a message.
local function stray(id)
  unhold(id, 'xk')
  if redis.call('EXISTS', P .. 't:' .. id) == 1 then quarantine('record', id) end
end

-- The entry of a dead letter may outlive its record, and its id may live again: only what is dead may be removed.
local function still_dead(id)
  local record = redis.call('MGET', P .. 't:' .. id)[1]
  return record and string.sub(record, 1, 2) == 'F|'
end

-- Tell the clients that wait for `id`, with its record if that is at hand and small, so that they need not ask for it.
-- An inbox that nobody reads is gone in a minute.
local function tell(id, record)
  local clients = redis.pcall('HGET', P .. 'waits', id)
  if type(clients) ~= 'string' then return end
  local told = record and #record <= 2000 and id .. ' ' .. record or id
  for client in string.gmatch(clients, '%S+') do
    redis.pcall('RPUSH', P .. 'inbox:' .. client, told)
    redis.pcall('PEXPIRE', P .. 'inbox:' .. client, 60000)
  end
  redis.pcall('HDEL', P .. 'waits', id)
end

-- End a task that does not run: its message goes, a tombstone stays (without TTL while a list still has its id).
-- `owner` is who settled it last, so that a repeat hears 'a' and not 'l'.
local function end_waiting(state, id, g, owner, flags, ttl)
  redis.call('UNLINK', P .. 'b:' .. id)
  local record = state .. '|' .. g .. '|' .. owner .. '|'
  if ttl then redis.call('SET', P .. 't:' .. id, record, 'PX', ttl) else redis.call('SET', P .. 't:' .. id, record) end
  unhold(id, flags)
  tell(id)
end

-- One entry a call in what listings read, and one count a kind of end.
local function recall(entries, counts)
  if #entries > 0 then redis.pcall('XADD', P .. 'recent', 'MAXLEN', '~', 2000, '*', 'd', table.concat(entries, '\n')) end
  local minute = P .. 'stats:' .. int(math.floor(now / 60000))
  for label, n in pairs(counts) do redis.pcall('HINCRBY', minute, label, n) end
  redis.pcall('PEXPIRE', minute, 7200000)
end

-- A running task has no expiry in the agenda; enter it again.
local function expire_again(id, flags)
  local expires = expires_of(id, flags)
  if expires ~= '' then redis.pcall('ZADD', AGENDA, expires, 'x:' .. id) end
end

-- End a running task if someone asked for that while it ran.
local function end_cancelled(id, g, owner, flags)
  if not string.find(flags, 'a', 1, true) then return false end
  end_waiting('C', id, g, owner, flags, 600000)
  recall({ 'C ' .. id .. ' - 0' }, { ['-|C'] = 1 })
  return true
end

-- Give a task back to the front of its list, or end it if someone asked for that while it ran.
-- `owner` stays on record after a settle; a reap clears it.
local function give_back(id, g, owner, list, f, c, flags)
  if end_cancelled(id, g, owner, flags) then return end
  local state = 'q'
  if failed(redis.pcall('LPUSH', P .. 'q:' .. list, id)) then
    state = 'w'
    put_off(id)
  end
  redis.call('SET', P .. 't:' .. id, state .. '|' .. g .. '|' .. owner .. '|' .. list .. '|' .. f .. '|' .. c .. '|' .. flags)
  expire_again(id, flags)
  wake(queue_of(list))
end

-- Due at `due`: a record's entry in the agenda; whoever sleeps past it is woken.
local function schedule(id, due, list)
  redis.pcall('ZADD', AGENDA, int(due), 't:' .. id)
  local first = redis.pcall('ZRANGE', AGENDA, 0, 0)
  if not failed(first) and first[1] == 't:' .. id then wake(queue_of(list)) end
end
