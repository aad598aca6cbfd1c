-- start: note that a careful task starts, so that the loss of its process can be charged to it.
-- KEYS[1] meta   ARGV process, id, g
-- Returns 1 it may start, 0 another owns it. A repeat notes the same again.
-- Begins with a freeing write, so it runs on a full Redis.
local HELD = P .. 'held:' .. ARGV[1]
local hold = redis.pcall('HGET', HELD, ARGV[2])
if type(hold) ~= 'string' then return 0 end
local seq, index, g = string.match(hold, '^(%d+):(%d+):(%d+):')
if g ~= ARGV[3] then return 0 end
redis.call('HDEL', HELD, '')
redis.call('HSET', HELD, ARGV[2], seq .. ':' .. index .. ':' .. g .. ':1')
return 1
