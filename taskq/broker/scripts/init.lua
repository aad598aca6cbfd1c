-- init: make a namespace's `meta` if it is absent. Without the prelude, which refuses a missing meta.
-- KEYS[1] meta   ARGV shards
-- Returns {format version, shards}, as they stand now. A repeat changes nothing.
-- The generation counter starts at Redis's clock in µs, so that a fence never falls, not even after FLUSHALL.
if redis.call('EXISTS', KEYS[1]) == 0 then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'v', '1', 'n', ARGV[1], 'g', string.format('%.0f', time[1] * 1000000 + time[2]))
end
return redis.call('HMGET', KEYS[1], 'v', 'n')
