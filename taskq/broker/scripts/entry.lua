-- entry: a queue's entry in `queues`; included by `--@include entry`.
-- It is `on` or `paused`, and for a queue that was ever bounded `|declared|set` behind that: how many tasks may be ready
-- in it, as the code has it and as people have set it, which counts more. 0 is any number, empty is nothing said.
-- Bytes that are no entry count as `on`.

local function entry_of(queue)
  local entry = redis.pcall('HGET', P .. 'queues', queue)
  if not entry or failed(entry) then return false, '', '' end
  local state, declared, set = string.match(entry, '^(%a+)|(%d*)|(%d*)$')
  return state or entry, declared or '', set or ''
end

-- How many tasks may be ready; nil for any number.
local function most_of(declared, set)
  local digits = set ~= '' and set or declared
  local most = #digits < 16 and tonumber(digits)
  return most and most > 0 and most or nil
end

local function enter(queue, state, declared, set)
  local bounds = declared .. set
  redis.call('HSET', P .. 'queues', queue, bounds == '' and state or state .. '|' .. declared .. '|' .. set)
end
