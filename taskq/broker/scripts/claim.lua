-- claim: file what fell due, then give a process ready tasks.
-- KEYS[1] meta   ARGV process, seq, limit, n, queue 1 … queue n, then ten list keys a queue, priority 9 first
-- Returns {'ok', now_ms, left, due_ms, id, g, rest, message, id, g, rest, message, …}; rest is `f|c|flags|queue:priority|expires_ms`,
--   left 1 if ready work is left (a repeat: or may be), with a token in its queue; due_ms the time to the next entry of the
--   agenda or -1; {'refused'}: no valid lease; {'stale'}: a lower seq than the last.
-- A repeat (same seq) returns what still runs of that batch with that g. Its first write frees: a full Redis lets it through.
-- Gives up to 1 MB of messages, or one that is larger: to copy more would hold up everyone else.
-- A limit of 0 gives nothing, but leaves a token if work is ready: for a process that took one and has no use for it. It
--   uses its seq up, so that a claim of the same seq that waits behind a BLPOP of a lost connection gives nothing later.
local process, seq, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local HELD = P .. 'held:' .. process
local lease = redis.pcall('ZSCORE', P .. 'procs', process)
if type(lease) ~= 'string' or tonumber(lease) <= now then return { 'refused' } end
local last = redis.pcall('HGET', HELD, '#')
if failed(last) then return redis.error_reply('TQHELD ' .. HELD .. ' has a wrong type') end
last = tonumber(last or 0) or 0
if seq < last then return { 'stale' } end

-- Ms until the agenda's next entry falls due, a day at most; -1 without one.
local function due_ms()
  local first = redis.pcall('ZRANGE', AGENDA, 0, 0, 'WITHSCORES')
  if failed(first) or not first[2] then return -1 end
  return math.min(86400000, math.max(0, tonumber(first[2]) - now))
end

local reply = { 'ok', int(now), 1, due_ms() }

if seq == last then
  local all, batch = redis.call('HGETALL', HELD), {}
  for i = 1, #all, 2 do
    local s, index, g = string.match(all[i + 1], '^(%d+):(%d+):(%d+):')
    if s and tonumber(s) == seq then batch[#batch + 1] = { index = tonumber(index), id = all[i], g = g } end
  end
  table.sort(batch, function(a, b) return a.index < b.index end)
  for _, entry in ipairs(batch) do
    local pair = redis.call('MGET', P .. 't:' .. entry.id, P .. 'b:' .. entry.id)
    local g, list, f, c, flags = string.match(pair[1] or '', '^r|(%d+)|[^|]*|([^|]+:%d)|(%d+)|(%d+)|(%a*)$')
    if g == entry.g and #g < 17 and pair[2] then
      reply[#reply + 1] = entry.id
      reply[#reply + 1] = g
      reply[#reply + 1] = f .. '|' .. c .. '|' .. flags .. '|' .. list .. '|' .. expires_of(entry.id, flags)
      reply[#reply + 1] = pair[2]
    end
  end
  return reply
end

-- What fell due: scheduled tasks go to the back of their lists, expired ones end. 64 a call, for a millisecond: the rest stays due.
if reply[4] == 0 then
  --@include ending
  local due = redis.call('ZRANGE', AGENDA, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, 64)
  local names, woken, entries, counts, became = {}, {}, {}, {}, {}
  for x, entry in ipairs(due) do names[x] = P .. 't:' .. string.sub(entry, 3) end
  local records = redis.call('MGET', unpack(names))
  redis.call('ZREM', AGENDA, unpack(due))
  for x, entry in ipairs(due) do
    local kind, id, record = string.sub(entry, 1, 2), string.sub(entry, 3), records[x] or ''
    local state, g, owner, list, flags = string.match(record, '^(%a)|(%d+)|([^|]*)|([^|]+:%d)|%d+|%d+|(%a*)$')
    state = became[id] or state  -- both entries of a task may be due
    if not state then
      if kind == 't:' and not string.find(record, '^[SFCE]|') then astray(id) end
    elseif kind == 't:' and state == 'w' then
      if failed(redis.pcall('RPUSH', P .. 'q:' .. list, id)) then
        put_off(id)
      else
        redis.call('SET', names[x], 'q' .. string.sub(record, 2))
        became[id] = 'q'
        woken[queue_of(list)] = true
      end
    elseif kind == 'x:' and (tonumber(expires_of(id, flags)) or now) > now then
      expire_again(id, flags)
    elseif kind == 'x:' and string.find('wqp', state, 1, true) and string.find(flags, 'x', 1, true) then
      became[id] = 'E'
      if state == 'w' then redis.call('ZREM', AGENDA, 't:' .. id) end
      if state == 'p' then redis.pcall('SREM', P .. 'parked:' .. owner, id) end
      end_waiting('E', id, g, '', flags, state ~= 'q' and 600000 or nil)
      entries[#entries + 1] = 'E ' .. id .. ' - 0'
      counts['-|E'] = (counts['-|E'] or 0) + 1
    end
  end
  for queue in pairs(woken) do wake(queue) end
  if #entries > 0 then recall(entries, counts) end
  reply[4] = due_ms()
end

local queues = tonumber(ARGV[4])
local holds, given, looked, left, alone, bytes = {}, 0, 0, nil, false, 0
local mine, stamp = '|' .. process .. '|', ARGV[2] .. ':'
-- Bytes that are no counter would raise after the first write: the fence begins anew, above all that was given.
local counts = string.find(head[3] or '', '^[1-9]%d*$') and tonumber(head[3]) < 9e15

-- Take up to `share` tasks from the head of one list; returns how many ids left it, and how many were given.
local function take(list, queue_priority, share)
  local ids = redis.call('LRANGE', list, 0, share - 1)
  local names, bodies = {}, {}
  for x, id in ipairs(ids) do
    names[x] = P .. 't:' .. id
    bodies[x] = P .. 'b:' .. id
  end
  local records, messages, read = redis.call('MGET', unpack(names)), {}, 0
  local good, rests, bad, ended, seen, taken = {}, {}, {}, {}, {}, #ids
  for x, id in ipairs(ids) do
    if x > read then
      if bytes >= 1000000 then taken = x - 1 break end
      -- Few at once, for their size is known only then.
      for _, message in ipairs(redis.call('MGET', unpack(bodies, x, math.min(x + 3, #ids)))) do
        read = read + 1
        messages[read] = message
        if message then bytes = bytes + #message end
      end
    end
    -- An id that stands twice in a list is given once: the second time it runs.
    local record, message = seen[id] and 'r|0|' or records[x], messages[x]
    seen[id] = true
    if not record and message then
      good[#good + 1] = x
    elseif not record then
      bad[#bad + 1] = id
    else
      local f, c, flags = string.match(record, '^q|%d+|[^|]*|[^|]*|(%d+)|(%d+)|(%a*)$')
      if f and message then
        if string.find(flags, 'c', 1, true) then
          -- Careful: it is given alone, so what stands before it goes first.
          if given + #good > 0 then taken = x - 1 else alone = true taken = x end
        end
        if taken >= x then
          good[#good + 1] = x
          rests[x] = { f = f, c = c, flags = flags }
        end
        if taken < #ids or alone then break end
      elseif string.find(record, '^[SFCE]|') then
        ended[#ended + 1] = x
      elseif not string.find(record, '^[wrpb]|%d+|') then
        bad[#bad + 1] = id
      end
    end
  end
  redis.call('LTRIM', list, taken, -1)
  if #bad > 0 then
    --@include misfits
    for _, id in ipairs(bad) do astray(id) end
  end
  for _, x in ipairs(ended) do redis.call('PEXPIRE', names[x], 600000) end
  if #good > 0 then
    if not counts then
      redis.call('HSET', META, 'g', int(time[1] * 1000000 + time[2]))
      counts = true
    end
    local g, set = redis.call('HINCRBY', META, 'g', #good) - #good, {}
    local plain = '0|0||' .. queue_priority .. '|'
    for y, x in ipairs(good) do
      local number, id, had, rest = int(g + y), ids[x], rests[x], plain
      set[#set + 1] = names[x]
      if had then
        local expires, tail = expires_of(id, had.flags), had.f .. '|' .. had.c .. '|' .. had.flags
        if expires ~= '' then redis.pcall('ZREM', AGENDA, 'x:' .. id) end
        rest = tail .. '|' .. queue_priority .. '|' .. expires
        set[#set + 1] = 'r|' .. number .. mine .. queue_priority .. '|' .. tail
      else
        set[#set + 1] = 'r|' .. number .. mine .. queue_priority .. '|0|0|'
      end
      holds[#holds + 1] = id
      holds[#holds + 1] = stamp .. (given + y) .. ':' .. number .. ':0'
      reply[#reply + 1] = id
      reply[#reply + 1] = number
      reply[#reply + 1] = rest
      reply[#reply + 1] = messages[x]
    end
    redis.call('MSET', unpack(set))
    given = given + #good
  end
  looked = looked + taken
  return taken, #good
end

-- How many lists these queues have, so that many empty ones cost one look.
local function lists_of(first, last)
  return redis.call('EXISTS', unpack(ARGV, first * 10 + queues - 5, last * 10 + queues + 4))
end

-- Give this queue's share, which has so many lists; true if that leaves work there.
local function serve(index, lists)
  local from, queue, ready, lengths = index * 10 + queues - 5, ARGV[4 + index], 0, {}
  if is_paused(redis.pcall('HGET', P .. 'queues', queue)) then return false end
  for j = 0, 9 do
    local length = lists > 0 and redis.pcall('LLEN', ARGV[from + j])
    lengths[j] = type(length) == 'number' and length or 0
    if length ~= 0 then lists = lists - 1 end
    ready = ready + lengths[j]
  end
  local share = limit - given
  if share > 1 then
    local servers = redis.pcall('SCARD', P .. 'serves:' .. queue)
    if type(servers) ~= 'number' or servers < 1 then servers = 1 end
    share = math.min(share, math.max(1, math.ceil(ready / (2 * servers))))
  end
  for j = 0, 9 do
    while lengths[j] > 0 and share > 0 and looked < 256 and bytes < 1000000 and not alone do
      local taken, good = take(ARGV[from + j], queue .. ':' .. (9 - j), math.min(share, 256 - looked, lengths[j]))
      lengths[j] = lengths[j] - taken
      ready = ready - taken
      share = share - good
      if taken == 0 then share = 0 end
    end
  end
  return ready > 0
end

for first = 1, queues, 10 do
  local last = math.min(first + 9, queues)
  local lists = not left and lists_of(first, last) or 0
  if lists > 0 then
    for index = first, last do
      if first < last then lists = lists_of(index, index) end
      if lists > 0 and serve(index, lists) then
        -- Later queues wait for their turn: they get a slot only when this one has no work.
        left = ARGV[4 + index]
        break
      end
    end
  end
end

if limit == 0 then
  redis.call('HDEL', HELD, '')
  redis.call('HSET', HELD, '#', ARGV[2])
end
if #holds > 0 then
  holds[#holds + 1] = '#'
  holds[#holds + 1] = ARGV[2]
  redis.call('HSET', HELD, unpack(holds))
end
if left then
  if #holds == 0 then redis.call('HDEL', HELD, '') end
  wake(left, 'on')
end
reply[3] = left and 1 or 0
return reply
