-- init: make a namespace's `meta` if it is absent. Without the prelude, which refuses a missing meta.
-- KEYS[1] meta   ARGV shards
-- Returns {format version, shards}, as they stand now. A repeat changes nothing.
-- The generation counter starts at Redis's clock in µs, so that a fence never falls, not even after FLUSHALL.
local found = redis.call('TYPE', KEYS[1])
found = found.ok or found
if found ~= 'none' and found ~= 'hash' then
  local aside = string.gsub(KEYS[1], 'meta$', 'wrong:meta')
  redis.call('RENAME', KEYS[1], aside)
  redis.call('PEXPIRE', aside, 1209600000)
  found = 'none'
end
if found == 'none' then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'v', '1', 'n', ARGV[1], 'g', string.format('%.0f', time[1] * 1000000 + time[2]))
end
return redis.call('HMGET', KEYS[1], 'v', 'n')
