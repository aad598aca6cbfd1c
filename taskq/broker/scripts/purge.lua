-- purge: cancel what is ready in one list, at most 500 a call, oldest first.
-- KEYS[1] meta   ARGV queue:priority, ttl_ms of the records it leaves
-- Returns {cancelled, left}. A repeat goes on. Begins with a freeing write, so it runs on a full Redis.
--@include ending
local list = P .. 'q:' .. ARGV[1]
local ids = redis.pcall('LRANGE', list, 0, 499)
if failed(ids) or #ids == 0 then return { 0, 0 } end
local names = {}
for x, id in ipairs(ids) do names[x] = P .. 't:' .. id end
local records = redis.call('MGET', unpack(names))
redis.call('LTRIM', list, #ids, -1)
local entries, counts, seen = {}, {}, {}
for x, id in ipairs(ids) do
  local record = seen[id] and 'r|0|' or records[x] or 'q|0|||0|0|'
  seen[id] = true
  local g, flags = string.match(record, '^q|(%d+)|.*|(%a*)$')
  if g and redis.call('EXISTS', P .. 'b:' .. id) == 1 then
    end_waiting('C', id, g, '', flags, ARGV[2])
    entries[#entries + 1] = 'C ' .. id .. ' - 0'
  elseif string.find(record, '^[SFCE]|') then
    redis.call('PEXPIRE', names[x], ARGV[2])
  elseif not string.find(record, '^[wrpb]|%d+|') then
    astray(id)
  end
end
if #entries > 0 then counts['-|C'] = #entries end
recall(entries, counts)
return { #entries, redis.call('LLEN', list) }
