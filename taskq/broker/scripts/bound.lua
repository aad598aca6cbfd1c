-- bound: say how many tasks may be ready in a queue before `enqueue` refuses new ones.
-- KEYS[1] meta   ARGV queue, `declared` or `set`, how many: 0 any number, '' to say nothing
-- Returns what counts now, 0 for any number. What was set by people counts more than what the code has declared.
-- A repeat changes nothing. Begins with a freeing write, so it runs on a full Redis.
--@include entry
local queue, number = ARGV[1], ARGV[3]
local state, declared, set = entry_of(queue)
if ARGV[2] == 'set' then set = number else declared = number end
redis.call('HDEL', P .. 'queues', '')
enter(queue, is_paused(state) and 'paused' or 'on', declared, set)
return most_of(declared, set) or 0
