-- pause: claims give nothing of a queue until `resume`; what runs goes on, and the queue accepts more.
-- KEYS[1] meta   ARGV queue
-- Returns 1. A repeat changes nothing. Begins with a freeing write, so it runs on a full Redis.
redis.call('HDEL', P .. 'queues', '')
redis.call('HSET', P .. 'queues', ARGV[1], 'paused')
return 1
