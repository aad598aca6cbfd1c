-- resume: claims give tasks of a queue again; those that block on it are woken.
-- KEYS[1] meta   ARGV queue
-- Returns 1. A repeat only wakes again. Begins with a freeing write, so it runs on a full Redis.
redis.call('HDEL', P .. 'queues', '')
redis.call('HSET', P .. 'queues', ARGV[1], 'on')
wake(ARGV[1], 'on')
return 1
