-- hello: register one life of a process and what it serves.
-- KEYS[1] meta   ARGV process, lease_ms, description, queue, queue, …
-- Returns now_ms. A repeat registers the same again. Begins with a freeing write, so it runs on a full Redis.
local process, lease = ARGV[1], tonumber(ARGV[2])
redis.call('HDEL', P .. 'held:' .. process, '')
redis.pcall('ZADD', P .. 'procs', int(now + lease), process)
redis.pcall('HSET', P .. 'beats', process, 0)
redis.pcall('SET', P .. 'info:' .. process, ARGV[3], 'PX', int(lease * 4))
for a = 4, #ARGV do
  redis.pcall('SADD', P .. 'serves:' .. ARGV[a], process)
  redis.pcall('HSETNX', P .. 'queues', ARGV[a], 'on')
end
return int(now)
