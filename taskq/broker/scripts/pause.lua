-- pause: claims give nothing of a queue until `resume`; what runs goes on, and the queue accepts more.
-- KEYS[1] meta   ARGV queue
-- Returns 1. A repeat changes nothing. Begins with a freeing write, so it runs on a full Redis.
--@include entry
local _, declared, set = entry_of(ARGV[1])
redis.call('HDEL', P .. 'queues', '')
enter(ARGV[1], 'paused', declared, set)
return 1
