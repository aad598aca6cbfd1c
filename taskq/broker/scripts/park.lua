-- park: set aside a claimed task that this process does not know.
-- KEYS[1] meta   ARGV process, id, g, task
-- Returns 'a' it goes round again in a second, for another live process knows it; 'p' parked until `register`;
--   'c' somebody had cancelled it; 'l' lost.
-- A repeat finds what it did and says it again, or 'l' once it has moved on. It charges nothing.
-- Its first write frees: a full Redis lets it through.
--@include ending
local process, id, g, task = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local record = redis.call('MGET', P .. 't:' .. id)[1] or ''
if string.find(record, 'p|' .. g .. '|' .. task .. '|', 1, true) == 1 then return 'p' end
if string.find(record, 'w|' .. g .. '||', 1, true) == 1 then return 'a' end
local own, owner, list, rest, flags = string.match(record, '^r|(%d+)|([^|]*)|([^|]+:%d)|(%d+|%d+|(%a*))$')
if own ~= g or owner ~= process then return 'l' end
redis.pcall('HDEL', P .. 'held:' .. process, id)
if end_cancelled(id, g, process, flags) then return 'c' end
expire_again(id, flags)
local known = redis.pcall('SMEMBERS', P .. 'knows:' .. task)
if not failed(known) then
  for _, member in ipairs(known) do
    local lease = member ~= process and redis.pcall('ZSCORE', P .. 'procs', member)
    if type(lease) == 'string' and tonumber(lease) > now
      and redis.pcall('SISMEMBER', P .. 'serves:' .. queue_of(list), member) == 1 then
      redis.call('SET', P .. 't:' .. id, 'w|' .. g .. '||' .. list .. '|' .. rest)
      schedule(id, now + 1000, list)
      return 'a'
    end
  end
end
redis.call('SET', P .. 't:' .. id, 'p|' .. g .. '|' .. task .. '|' .. list .. '|' .. rest)
set_aside('parked:' .. task, 'set')
redis.call('SADD', P .. 'parked:' .. task, id)
return 'p'
