-- requeue: enqueue a dead letter's work under a new id; the old task stays failed, and is a dead letter no more.
-- KEYS[1] meta   ARGV old id, queue of the dead letter, ttl_ms the old record stays, new id, queue:priority, new message
-- Returns 1 requeued, 0 it had been, -1 there is no such dead letter.
-- A repeat finds the new message. Its first write is one that a full Redis refuses.
local old, new, list = ARGV[1], ARGV[4], ARGV[5]
if redis.call('EXISTS', P .. 't:' .. new, P .. 'b:' .. new) > 0 then return 0 end
local record = redis.call('MGET', P .. 't:' .. old)[1]
if not record or string.sub(record, 1, 1) ~= 'F' then return -1 end
if type(redis.pcall('ZSCORE', P .. 'dead:' .. ARGV[2], old)) ~= 'string' then return -1 end
if failed(redis.pcall('LLEN', P .. 'q:' .. list)) then return redis.error_reply('TQBAD the list of ' .. list .. ' has a wrong type') end
redis.call('SET', P .. 'b:' .. new, ARGV[6])
redis.call('RPUSH', P .. 'q:' .. list, new)
redis.pcall('ZREM', P .. 'dead:' .. ARGV[2], old)
redis.call('UNLINK', P .. 'b:' .. old)
redis.call('PEXPIRE', P .. 't:' .. old, ARGV[3])
redis.pcall('HSETNX', P .. 'queues', queue_of(list), 'on')
wake(queue_of(list))
return 1
