-- register: note which tasks a process knows and where they are declared, and release what was parked for them.
-- KEYS[1] meta   ARGV process, then for each task: name, queue
-- Returns how many stay parked: call again until it is 0. At most 500 are released a call.
-- A repeat notes the same again. Begins with a freeing write, so a worker starts on a full Redis.
redis.pcall('ZREM', P .. 'procs', '')
local process, budget, left = ARGV[1], 500, 0
for a = 2, #ARGV, 2 do
  local task, queue = ARGV[a], ARGV[a + 1]
  redis.pcall('HSET', P .. 'tasks', task, queue .. '|' .. int(now))
  local knows = P .. 'knows:' .. task
  local members = redis.pcall('SMEMBERS', knows)
  if not failed(members) then
    for _, member in ipairs(members) do
      if not redis.pcall('ZSCORE', P .. 'procs', member) then redis.pcall('SREM', knows, member) end
    end
  end
  redis.pcall('SADD', knows, process)
  local parked = P .. 'parked:' .. task
  local ids = redis.pcall('SRANDMEMBER', parked, budget)
  if not failed(ids) and #ids > 0 then
    table.sort(ids)
    for _, id in ipairs(ids) do
      local record = redis.call('MGET', P .. 't:' .. id)[1] or ''
      local g, list, rest = string.match(record, '^p|(%d+)|[^|]*|([^|]+:%d)|(%d+|%d+|%a*)$')
      if g and not failed(redis.pcall('RPUSH', P .. 'q:' .. list, id)) then
        redis.call('SET', P .. 't:' .. id, 'q|' .. g .. '||' .. list .. '|' .. rest)
        wake(queue_of(list))
      end
    end
    redis.call('SREM', parked, unpack(ids))
    budget = budget - #ids
    left = left + redis.call('SCARD', parked)
  end
end
return left
