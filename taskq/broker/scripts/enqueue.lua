-- enqueue: store messages, each once, and make them ready or due.
-- KEYS[1] meta   ARGV not_after_ms, then for each message: id, queue:priority, options, message
--   not_after_ms  Redis time past which an absent id is refused; 0 never
--   options       '' or `due|expires|keep_ms|switches|key`: instants in ms, relative to now with a leading +;
--                 switches f = to the front, u = no not_after; key = tail of the unique key, kept keep_ms if given
-- Returns now_ms, then for each message: 1 stored, 0 its id was known, -1 too late, -2 its list has a wrong type, or the id that
--   holds its unique key.
-- A repeat finds the record or the message and stores nothing. Its first write is one that a full Redis refuses.
local not_after = tonumber(ARGV[1])
local late = not_after > 0 and now > not_after

-- Have a queue stand among `queues`, and wake whoever waits for what is `ready` in it.
local function announce(queue, ready)
  local state = redis.pcall('HGET', P .. 'queues', queue)
  if not state then redis.pcall('HSETNX', P .. 'queues', queue, 'on') end
  if ready then wake(queue, state or 'on') end
end

-- One plain message, as `task.enqueue` sends it: all below does the same, and its tables take half as long again.
if #ARGV == 5 and ARGV[4] == '' then
  local id, list = ARGV[2], ARGV[3]
  if redis.call('EXISTS', P .. 't:' .. id, P .. 'b:' .. id) > 0 then return { int(now), 0 } end
  if late then return { int(now), -1 } end
  if failed(redis.pcall('LLEN', P .. 'q:' .. list)) then return { int(now), -2 } end
  redis.call('SET', P .. 'b:' .. id, ARGV[5])
  redis.call('RPUSH', P .. 'q:' .. list, id)
  announce(queue_of(list), true)
  return { int(now), 1 }
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

local values, lists, order, queues, extras, agenda, later_queues = {}, {}, {}, {}, {}, {}, {}
local queue_by_list = {}
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
  if seen[id] or (not fresh and redis.call('EXISTS', P .. 't:' .. id, P .. 'b:' .. id) > 0) then
    stored[#stored + 1] = 0
  elseif late and not user_given then
    stored[#stored + 1] = -1
  elseif holder then
    stored[#stored + 1] = holder
  elseif not later and not put(list, id, switches and string.find(switches, 'f', 1, true)) then
    stored[#stored + 1] = -2
  else
    seen[id] = true
    stored[#stored + 1] = 1
    values[#values + 1] = P .. 'b:' .. id
    values[#values + 1] = ARGV[i + 3]
    local queue = queue_by_list[list] or queue_of(list)
    queue_by_list[list] = queue
    queues[queue] = queues[queue] or not later
    if options ~= '' then
      local flags = (expires and 'x' or '') .. (key ~= '' and 'k' or '')
      if flags ~= '' then
        extras[#extras + 1] = { id = id, key = key, keep = keep, expires = expires }
        if key ~= '' then taken[key] = id end
      end
      if later then
        agenda[#agenda + 1] = int(due)
        agenda[#agenda + 1] = 't:' .. id
        later_queues[queue] = true
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
if next(later_queues) then
  -- Whoever sleeps past what is due first now is woken.
  local first = redis.pcall('ZRANGE', AGENDA, 0, 0)
  if not failed(first) and string.sub(first[1] or '', 1, 2) == 't:' and seen[string.sub(first[1], 3)] then
    for queue in pairs(later_queues) do queues[queue] = true end
  end
end
for _, ids in ipairs(order) do
  if ids.front then
    for x = #ids, 1, -1 do redis.call('LPUSH', P .. 'q:' .. ids.list, ids[x]) end
  else
    redis.call('RPUSH', P .. 'q:' .. ids.list, unpack(ids))
  end
end
for queue, ready in pairs(queues) do announce(queue, ready) end
return stored
