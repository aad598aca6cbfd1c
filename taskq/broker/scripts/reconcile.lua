-- reconcile: mend records that nothing points to any more; a sweep passes it the ids it walks by, at most 500.
-- KEYS[1] meta   ARGV id, id, …
-- Returns how many were mended. A repeat finds them mended. What it pushes may be twice in a list; a claim skips the second.
--   r whose process is gone or does not hold it: back to its list, careful · w without an entry in the agenda: due now
--   p that no parked set has: parked again · w, p, q with an expiry that has left the agenda: entered again
-- What is no record goes on record itself, once. Begins with a freeing write, so it runs on a full Redis.
--@include ending
redis.pcall('ZREM', P .. 'procs', '')

-- A record says that a process runs it; true if that had to be put right.
local function mend_running(id, g, owner, list, f, c, flags)
  local hold = redis.pcall('HGET', P .. 'held:' .. owner, id)
  if type(hold) ~= 'string' or string.match(hold, '^%d+:%d+:(%d+):') ~= g then
    give_back(id, g, '', list, f, c, string.find(flags, 'c', 1, true) and flags or flags .. 'c')
    return true
  end
  if type(redis.pcall('ZSCORE', P .. 'procs', owner)) == 'string' then return false end
  -- Reaped in part, then its sweeper died: an entry of beats lets the next sweep see it stand still.
  return redis.pcall('HSETNX', P .. 'beats', owner, 0) == 1
end

local mended = 0
for _, id in ipairs(ARGV) do
  local record = redis.call('MGET', P .. 't:' .. id)[1] or ''
  local state, g, owner, list, f, c, flags = string.match(record, '^(%a)|(%d+)|([^|]*)|([^|]+:%d)|(%d+)|(%d+)|(%a*)$')
  local done = false
  if not state then
    local broken = not string.find(record, '^[SFCE]|%d+|')
    if broken and redis.call('PTTL', P .. 't:' .. id) == -1 then quarantine('record', id) end
  elseif state == 'r' then
    done = mend_running(id, g, owner, list, f, c, flags)
  else
    if state == 'w' and redis.pcall('ZSCORE', AGENDA, 't:' .. id) == false then
      schedule(id, now, list)
      done = true
    elseif state == 'p' and redis.pcall('SISMEMBER', P .. 'parked:' .. owner, id) ~= 1 then
      set_aside('parked:' .. owner, 'set')
      redis.call('SADD', P .. 'parked:' .. owner, id)
      done = true
    end
    if expires_of(id, flags) ~= '' and redis.pcall('ZSCORE', AGENDA, 'x:' .. id) == false then
      expire_again(id, flags)
      done = true
    end
  end
  if done then mended = mended + 1 end
end
return mended
