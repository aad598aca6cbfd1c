-- resume: claims give tasks of a queue again; those that block on it are woken.
-- KEYS[1] meta   ARGV queue
-- Returns 1. A repeat only wakes again. Begins with a freeing write, so it runs on a full Redis.
--@include entry
local _, declared, set = entry_of(ARGV[1])
redis.call('HDEL', P .. 'queues', '')
enter(ARGV[1], 'on', declared, set)
wake(ARGV[1], 'on')
return 1
