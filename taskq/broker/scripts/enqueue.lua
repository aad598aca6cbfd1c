-- enqueue: store messages, each once, and make them ready or due.
-- KEYS[1] meta   ARGV not_after_ms, then for each message: id, queue:priority, options, message
--   not_after_ms  Redis time past which an absent id is refused; 0 never
--   options       '' or `due|expires|keep_ms|switches|key`: instants in ms, relative to now with a leading +;
--                 switches f = to the front, u = no not_after; key = tail of the unique key, kept keep_ms if given
-- Returns now_ms, then for each message: 1 stored, 0 its id was known, -1 too late, -2 its list has a wrong type, the id that
--   holds its unique key, or {ready, most}: its queue is full, as many tasks are ready in it as may be.
-- A repeat finds the record or the message and stores nothing. Its first write is one that a full Redis refuses.
local not_after = tonumber(ARGV[1])
local late = not_after > 0 and now > not_after

-- One plain message to a queue without a bound, as `task.enqueue` sends it: all below does the same, and its tables take half as
-- long again.
if #ARGV == 5 and ARGV[4] == '' then
  local id, list = ARGV[2], ARGV[3]
  local queue = queue_of(list)
  local state = redis.pcall('HGET', P .. 'queues', queue)
  if not state or state == 'on' or state == 'paused' then
    local message = P .. 'b:' .. id
    if redis.call('EXISTS', P .. 't:' .. id, message) > 0 then return { int(now), 0 } end
    if late then return { int(now), -1 } end
    redis.call('SET', message, ARGV[5])
    if failed(redis.pcall('RPUSH', P .. 'q:' .. list, id)) then
      redis.call('UNLINK', message)
      return { int(now), -2 }
    end
    if not state then redis.pcall('HSETNX', P .. 'queues', queue, 'on') end
    wake(queue, state or 'on')
    return { int(now), 1 }
  end
end

--@include entry
-- A queue's state, false if nothing is known of it; and if it is bounded, how many tasks are ready in it, and may be.
local function look_at(queue)
  local state, declared, set = entry_of(queue)
  local most = most_of(declared, set)
  if not most then return state end
  local ready = 0
  for priority = 0, 9 do
    local length = redis.pcall('LLEN', P .. 'q:' .. queue .. ':' .. priority)
    if type(length) == 'number' then ready = ready + length end
  end
  return state, ready, most
end

local stored, seen, keys = { int(now) }, {}, {}
for i = 2, #ARGV, 4 do
  keys[#keys + 1] = P .. 't:' .. ARGV[i]
  keys[#keys + 1] = P .. 'b:' .. ARGV[i]
end
local fresh = redis.call('EXISTS', unpack(keys)) == 0

local function instant(text)
  if text == '' then return nil end
  if string.sub(text, 1, 1) == '+' then return now + tonumber(text) end
  return tonumber(text)
end

-- A unique key is held by a task that lives, or for as long as it was asked to be kept.
local taken = {}
local function holder_of(key)
  if taken[key] then return taken[key] end
  local holder = redis.pcall('GET', P .. 'u:' .. key)
  if type(holder) ~= 'string' then return nil end
  if redis.call('PTTL', P .. 'u:' .. key) > 0 then return holder end
  local record = redis.call('MGET', P .. 't:' .. holder)[1]
  return record and string.find(record, '^[wbqrp]|') and holder or nil
end

local values, lists, order, extras, agenda = {}, {}, {}, {}, {}
local queues, queue_by_list, any_later = {}, {}, false
local function queue_at(list)
  local name = queue_of(list)
  local queue = queues[name]
  if not queue then
    queue = {}
    queue.state, queue.ready, queue.most = look_at(name)
    queues[name] = queue
  end
  queue_by_list[list] = queue
  return queue
end

local function put(list, id, front)
  local name = (front and '<' or '>') .. list
  local ids = lists[name]
  if not ids then
    if failed(redis.pcall('LLEN', P .. 'q:' .. list)) then return false end
    ids = { list = list, front = front }
    lists[name] = ids
    order[#order + 1] = ids
  end
  ids[#ids + 1] = id
  return true
end

for i = 2, #ARGV, 4 do
  local id, list, options = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local due, expires, keep, switches, key
  if options ~= '' then
    due, expires, keep, switches, key = string.match(options, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|(.*)$')
    due, expires = instant(due), instant(expires)
  end
  local user_given = switches and string.find(switches, 'u', 1, true)
  local holder = key and key ~= '' and holder_of(key)
  local later = due and due > now
  local queue = queue_by_list[list] or queue_at(list)
  if seen[id] or (not fresh and redis.call('EXISTS', P .. 't:' .. id, P .. 'b:' .. id) > 0) then
    stored[#stored + 1] = 0
  elseif late and not user_given then
    stored[#stored + 1] = -1
  elseif holder then
    stored[#stored + 1] = holder
  elseif queue.most and queue.ready >= queue.most then
    stored[#stored + 1] = { queue.ready, queue.most }
  elseif not later and not put(list, id, switches and string.find(switches, 'f', 1, true)) then
    stored[#stored + 1] = -2
  else
    seen[id] = true
    stored[#stored + 1] = 1
    values[#values + 1] = P .. 'b:' .. id
    values[#values + 1] = ARGV[i + 3]
    queue.used = true
    queue.wakes = queue.wakes or not later
    if queue.most and not later then queue.ready = queue.ready + 1 end
    if options ~= '' then
      local flags = (expires and 'x' or '') .. (key ~= '' and 'k' or '')
      if flags ~= '' then
        extras[#extras + 1] = { id = id, key = key, keep = keep, expires = expires }
        if key ~= '' then taken[key] = id end
      end
      if later then
        agenda[#agenda + 1] = int(due)
        agenda[#agenda + 1] = 't:' .. id
        queue.later, any_later = true, true
      end
      if flags ~= '' or later then
        values[#values + 1] = P .. 't:' .. id
        values[#values + 1] = (later and 'w' or 'q') .. '|0||' .. list .. '|0|0|' .. flags
      end
    end
  end
end
if #values == 0 then return stored end

for x = 1, #values, 1000 do redis.call('MSET', unpack(values, x, math.min(x + 999, #values))) end
for _, extra in ipairs(extras) do
  local name = P .. 'x:' .. extra.id
  redis.call('UNLINK', name)
  if extra.expires then
    redis.call('HSET', name, 'expires', int(extra.expires))
    agenda[#agenda + 1] = int(extra.expires)
    agenda[#agenda + 1] = 'x:' .. extra.id
  end
  if extra.key ~= '' then
    redis.call('HSET', name, 'key', extra.key)
    if extra.keep == '' then
      redis.call('SET', P .. 'u:' .. extra.key, extra.id)
    else
      redis.call('SET', P .. 'u:' .. extra.key, extra.id, 'PX', extra.keep)
      redis.call('HSET', name, 'keep', '1')
    end
  end
end
for x = 1, #agenda, 1000 do
  redis.pcall('ZADD', AGENDA, unpack(agenda, x, math.min(x + 999, #agenda)))
end
if any_later then
  -- Whoever sleeps past what is due first now is woken.
  local first = redis.pcall('ZRANGE', AGENDA, 0, 0)
  if not failed(first) and string.sub(first[1] or '', 1, 2) == 't:' and seen[string.sub(first[1], 3)] then
    for _, queue in pairs(queues) do queue.wakes = queue.wakes or queue.later end
  end
end
for _, ids in ipairs(order) do
  if ids.front then
    for x = #ids, 1, -1 do redis.call('LPUSH', P .. 'q:' .. ids.list, ids[x]) end
  else
    redis.call('RPUSH', P .. 'q:' .. ids.list, unpack(ids))
  end
end
for name, queue in pairs(queues) do
  if queue.used and not queue.state then redis.pcall('HSETNX', P .. 'queues', name, 'on') end
  if queue.wakes then wake(name, queue.state or 'on') end
end
return stored
