-- discard: remove dead letters of a queue for good, with record and message, at most 500 a call.
-- KEYS[1] meta   ARGV queue, then ids; none means the oldest
-- Returns {removed, left}. A repeat finds them gone. Begins with a freeing write, so it runs on a full Redis.
--@include ending
local dead = P .. 'dead:' .. ARGV[1]
local ids = { unpack(ARGV, 2) }
if #ids == 0 then ids = redis.pcall('ZRANGE', dead, 0, 499) end
if failed(ids) or failed(redis.pcall('ZCARD', dead)) then return { 0, 0 } end
local removed = 0
for _, id in ipairs(ids) do
  if redis.call('ZREM', dead, id) == 1 then
    removed = removed + 1
    if still_dead(id) then redis.call('UNLINK', P .. 't:' .. id, P .. 'b:' .. id) end
  end
end
return { removed, redis.call('ZCARD', dead) }
