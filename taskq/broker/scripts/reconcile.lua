-- reconcile: mend records that nothing points to any more; a sweep passes it the ids it walks by, at most 500.
-- KEYS[1] meta   ARGV id, id, …
-- Returns how many were mended. A repeat finds them mended. What it pushes may be twice in a list; a claim skips the second.
--   r whose process is gone or does not hold it: back to its list, careful · w without an entry in the agenda: due now
--   p that no parked set has: parked again · q with an expiry that has left the agenda: entered again
--@include ending
redis.pcall('ZREM', P .. 'procs', '')
local mended = 0
for _, id in ipairs(ARGV) do
  local record = redis.call('MGET', P .. 't:' .. id)[1] or ''
  local state, g, owner, list, f, c, flags = string.match(record, '^(%a)|(%d+)|([^|]*)|([^|]+:%d)|(%d+)|(%d+)|(%a*)$')
  if state == 'r' then
    local lease = redis.pcall('ZSCORE', P .. 'procs', owner)
    local hold = redis.pcall('HGET', P .. 'held:' .. owner, id)
    local held = type(hold) == 'string' and string.match(hold, '^%d+:%d+:(%d+):') == g
    if not held and type(redis.pcall('LLEN', P .. 'q:' .. list)) == 'number' then
      give_back(id, g, '', list, f, c, string.find(flags, 'c', 1, true) and flags or flags .. 'c')
      mended = mended + 1
    elseif held and type(lease) ~= 'string' and redis.pcall('HGET', P .. 'beats', owner) == false then
      -- Reaped in part, then its sweeper died: an entry of beats lets the next sweep see it stand still.
      redis.pcall('HSET', P .. 'beats', owner, 0)
      mended = mended + 1
    end
  elseif state == 'w' and redis.pcall('ZSCORE', AGENDA, 't:' .. id) == false then
    schedule(id, now, list)
    mended = mended + 1
  elseif state == 'p' and redis.pcall('SISMEMBER', P .. 'parked:' .. owner, id) == 0 then
    redis.pcall('SADD', P .. 'parked:' .. owner, id)
    mended = mended + 1
  elseif state == 'q' and string.find(flags, 'x', 1, true) and redis.pcall('ZSCORE', AGENDA, 'x:' .. id) == false then
    local expires = redis.pcall('HGET', P .. 'x:' .. id, 'expires')
    if type(expires) == 'string' then
      redis.pcall('ZADD', AGENDA, expires, 'x:' .. id)
      mended = mended + 1
    end
  end
end
return mended
