-- register: note which tasks a process knows and where they are declared, and release what was parked for them.
-- KEYS[1] meta   ARGV process, then for each task: name, queue
-- Returns how many stay parked: call again until it is 0. At most 500 are released a call.
-- A repeat notes the same again. Begins with a freeing write, so a worker starts on a full Redis.
--@include misfits
local process, budget, left = ARGV[1], 500, 0
redis.call('HDEL', P .. 'held:' .. process, '')
for a = 2, #ARGV, 2 do
  local task, queue = ARGV[a], ARGV[a + 1]
  redis.pcall('HSET', P .. 'tasks', task, queue .. '|' .. int(now))
  local knows, parked = P .. 'knows:' .. task, P .. 'parked:' .. task
  set_aside('knows:' .. task, 'set')
  set_aside('parked:' .. task, 'set')
  for _, member in ipairs(redis.call('SMEMBERS', knows)) do
    if not redis.pcall('ZSCORE', P .. 'procs', member) then redis.call('SREM', knows, member) end
  end
  redis.call('SADD', knows, process)
  local ids = redis.call('SRANDMEMBER', parked, budget)
  table.sort(ids)
  for _, id in ipairs(ids) do
    local record = redis.call('MGET', P .. 't:' .. id)[1] or ''
    local g, list, rest = string.match(record, '^p|(%d+)|[^|]*|([^|]+:%d)|(%d+|%d+|%a*)$')
    if not g then
      if not string.find(record, '^%a|%d+|') then astray(id) end
    elseif failed(redis.pcall('RPUSH', P .. 'q:' .. list, id)) then
      redis.call('SET', P .. 't:' .. id, 'w|' .. g .. '||' .. list .. '|' .. rest)
      put_off(id)
    else
      redis.call('SET', P .. 't:' .. id, 'q|' .. g .. '||' .. list .. '|' .. rest)
      wake(queue_of(list))
    end
  end
  if #ids > 0 then redis.call('SREM', parked, unpack(ids)) end
  budget = budget - #ids
  left = left + redis.call('SCARD', parked)
end
return left
