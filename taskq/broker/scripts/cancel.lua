-- cancel: end a task that waits, or ask the process that runs it to stop.
-- KEYS[1] meta   ARGV id, ttl_ms of the record it leaves
-- Returns the state after: 'C' cancelled, 'r' asked, 'S' 'F' 'E' it had ended before, '' unknown.
-- A repeat finds it ended, or asks again. Begins with a freeing write, so it runs on a full Redis.
--@include ending
local id, ttl = ARGV[1], ARGV[2]
local pair = redis.call('MGET', P .. 't:' .. id, P .. 'b:' .. id)
local record = pair[1]
if not record then
  if not pair[2] then return '' end
  record = 'q|0|||0|0|'
end
local state, g, owner, rest = string.match(record, '^(%a)|(%d+)|([^|]*)|(.*)$')
if not state then return '' end
if string.find('SFCE', state, 1, true) then return state end
local flags = string.match(rest, '(%a*)$')
if state == 'r' then
  redis.pcall('HDEL', P .. 'held:' .. owner, '')
  if not string.find(flags, 'a', 1, true) then redis.call('SET', P .. 't:' .. id, record .. 'a') end
  redis.pcall('HSET', P .. 'control:' .. owner, id, g)
  redis.pcall('PEXPIRE', P .. 'control:' .. owner, 60000)
  return 'r'
end
-- A list passes it some day, and needs its tombstone until then; what is in quarantine stands in none.
local listed = state == 'q' and redis.call('PTTL', P .. 'b:' .. id) == -1
if state == 'w' then redis.pcall('ZREM', AGENDA, 't:' .. id) end
if state == 'p' then redis.pcall('SREM', P .. 'parked:' .. owner, id) end
end_waiting('C', id, g, '', flags, not listed and ttl or nil)
recall({ 'C ' .. id .. ' - 0' }, { ['-|C'] = 1 })
return 'C'
