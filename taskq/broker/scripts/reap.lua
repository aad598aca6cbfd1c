-- reap: forget a process and take back what it held, at most 500 a call.
-- KEYS[1] meta   ARGV process, beats or 'gone', queue, queue, …
--   beats  the counter as the sweeper saw it stand still: another value now means it lives (returns -1)
--   'gone' its supervisor saw it end and has settled what ran: what is left never started and is charged nothing
-- Returns how many are left. The first call ends the lease, so that no claim of it succeeds later; what it settles before the call
-- that takes it back is committed, what it settles after that is lost.
-- Without testimony nobody is charged but a careful task that had noted its start; all are careful from now on.
-- A repeat finds less, then nothing. Begins with a freeing write, so it runs on a full Redis.
--@include ending
local process, HELD = ARGV[1], P .. 'held:' .. ARGV[1]
local gone = ARGV[2] == 'gone'
if not gone then
  local beats = redis.pcall('HGET', P .. 'beats', process)
  if type(beats) == 'string' and beats ~= ARGV[2] then return -1 end
end
redis.pcall('ZREM', P .. 'procs', process)
local held = redis.pcall('HGETALL', HELD)
if failed(held) then
  set_aside('held:' .. process, 'hash')
  held = {}
end
local back, fields, strays = {}, {}, {}
for i = 1, #held, 2 do
  if held[i] ~= '#' and #fields < 500 then
    fields[#fields + 1] = held[i]
    local seq, index, g, started = string.match(held[i + 1], '^(%d+):(%d+):(%d+):(%d)$')
    if seq then
      local record = redis.call('MGET', P .. 't:' .. held[i])[1] or ''
      local own, owner, list, f, c, flags = string.match(record, '^r|(%d+)|([^|]*)|([^|]+:%d)|(%d+)|(%d+)|(%a*)$')
      if own == g and owner == process then
        back[#back + 1] = { seq = tonumber(seq), index = tonumber(index), id = held[i], g = g, list = list,
          f = f, c = started == '1' and not gone and c + 1 or c, flags = flags }
      elseif not string.find(record, '^%a|%d+|') then
        strays[#strays + 1] = held[i]
      end
    end
  end
end
if #fields > 0 then redis.call('HDEL', HELD, unpack(fields)) end
for _, id in ipairs(strays) do stray(id) end
table.sort(back, function(a, b)
  if a.seq ~= b.seq then return a.seq > b.seq end
  return a.index > b.index
end)
for _, task in ipairs(back) do
  local careful = not gone and not string.find(task.flags, 'c', 1, true)
  give_back(task.id, task.g, '', task.list, task.f, task.c, careful and task.flags .. 'c' or task.flags)
end
local left = redis.call('HLEN', HELD)
if left > 1 then return left - 1 end
redis.call('UNLINK', HELD, P .. 'info:' .. process, P .. 'control:' .. process)
redis.pcall('HDEL', P .. 'beats', process)
local queues = redis.pcall('HKEYS', P .. 'queues')
if not failed(queues) then
  for _, queue in ipairs(queues) do redis.pcall('SREM', P .. 'serves:' .. queue, process) end
end
return 0
