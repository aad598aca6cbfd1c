-- misfits: what scripts share that meet what fits nowhere; included by `--@include misfits`.

-- Put bytes that fit nowhere on record, capped; the keys themselves go after two weeks.
local function quarantine(reason, id)
  redis.pcall('XADD', P .. 'quarantine', 'MAXLEN', '~', 1000, '*', 'reason', reason, 'id', id)
  redis.pcall('PEXPIRE', P .. 't:' .. id, 1209600000)
  redis.pcall('PEXPIRE', P .. 'b:' .. id, 1209600000)
end

-- Move a key of a wrong type out of the way, so that what it should hold can grow anew; true if it was.
local function set_aside(tail, kind)
  local found = redis.call('TYPE', P .. tail)
  found = found.ok or found
  if found == 'none' or found == kind then return false end
  redis.call('RENAME', P .. tail, P .. 'wrong:' .. tail)
  redis.call('PEXPIRE', P .. 'wrong:' .. tail, 1209600000)
  quarantine('type ' .. found, tail)
  return true
end

-- An id that stands where a task should, without one: what there is of it goes on record.
local function astray(id)
  if redis.call('EXISTS', P .. 't:' .. id, P .. 'b:' .. id) > 0 then
    quarantine('record', id)
  else
    redis.pcall('SADD', P .. 'limbo', id)
  end
end

-- The list of a task that is ready has a wrong type: again in ten seconds, when a sweep has mended it.
local function put_off(id) redis.pcall('ZADD', AGENDA, int(now + 10000), 't:' .. id) end
