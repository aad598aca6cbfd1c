-- settle: commit what became of claimed tasks.
-- KEYS[1] meta   ARGV process, then for each: id, g, kind, ms, task, took_ms, outcome
--   kind  S succeeded, F failed (dead-lettered), C cancelled, E expired: ms is how long the record stays
--         R retry in ms, one failure more · L released unstarted · X its process died of it, one crash more
--         K its process died, of it or of a neighbour: no charge, it runs alone next · Q unreadable: F, and quarantined
--         s c e as S C E, and the message stays as long as the record
-- Returns for each: 'c' committed, 'a' already (a lost reply), 'l' lost (another owns it), 'g' gone.
-- A repeat finds the same g and owner in another state and answers 'a'. Its first write frees: a full Redis lets it through.
--@include ending
local process = ARGV[1]
local HELD = P .. 'held:' .. process
if failed(redis.pcall('HLEN', HELD)) then return redis.error_reply('TQHELD ' .. HELD .. ' has a wrong type') end
local KEPT = { s = 'S', c = 'C', e = 'E' }
local answers, todo, names, fields, seen, strays = {}, {}, {}, {}, {}, {}
for i = 2, #ARGV, 7 do names[#names + 1] = P .. 't:' .. ARGV[i] end
local records = redis.call('MGET', unpack(names))
local mine = '|' .. process .. '|'

-- What is not ours any more is not held either; true if this claim of it was.
local function let_go(id, g)
  local hold = redis.pcall('HGET', HELD, id)
  local held = type(hold) == 'string' and string.match(hold, '^%d+:%d+:(%d+):') == g
  if held then fields[#fields + 1] = id end
  return held
end

-- Enter a failed task among the dead letters of its queue: 10,000 of them, each for as long as its record.
local function bury(id, queue, ms)
  local dead = P .. 'dead:' .. queue
  if failed(redis.pcall('ZADD', dead, int(now), id)) then return end
  redis.call('PEXPIRE', dead, ms, 'NX')
  redis.call('PEXPIRE', dead, ms, 'GT')
  local over = redis.call('ZCARD', dead) - 10000
  local old = over > 0 and redis.call('ZRANGE', dead, 0, math.min(over, 100) - 1)
    or redis.call('ZRANGE', dead, '-inf', int(now - tonumber(ms)), 'BYSCORE', 'LIMIT', 0, 100)
  for _, other in ipairs(old) do
    local is_dead = still_dead(other)
    if over > 0 and is_dead then redis.call('UNLINK', P .. 't:' .. other, P .. 'b:' .. other) end
    if over > 0 or not is_dead then redis.call('ZREM', dead, other) end
  end
end

for x, record in ipairs(records) do
  local i = x * 7 - 5
  local fence = '|' .. ARGV[i + 1] .. mine
  if not record then
    answers[x] = 'g'
    if let_go(ARGV[i], ARGV[i + 1]) then strays[#strays + 1] = ARGV[i] end
  elseif string.sub(record, 2, #fence + 1) ~= fence then
    answers[x] = 'l'
    let_go(ARGV[i], ARGV[i + 1])
  elseif string.sub(record, 1, 1) ~= 'r' or seen[ARGV[i]] then
    answers[x] = 'a'
  else
    answers[x] = 'c'
    seen[ARGV[i]] = true
    todo[#todo + 1] = x
    fields[#fields + 1] = ARGV[i]
  end
end
if #fields == 0 then return answers end

redis.call('HDEL', HELD, unpack(fields))
for _, id in ipairs(strays) do stray(id) end
if #todo == 0 then return answers end
local waited = redis.pcall('HLEN', P .. 'waits')
waited = type(waited) == 'number' and waited > 0
local done, entries, counts = {}, {}, {}
-- Backwards, so that a batch that is given back stands in its old order at the head of its list.
for y = #todo, 1, -1 do
  local x = todo[y]
  local i = x * 7 - 5
  local id, g, kind, ms, task, outcome = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 6]
  local list, f, c, flags = string.match(records[x], '^r|%d+|[^|]*|([^|]+:%d)|(%d+)|(%d+)|(%a*)$')
  local state = kind
  if not list then
    quarantine('record', id)
    answers[x], state = 'g', nil
  elseif kind == 'L' then
    give_back(id, g, process, list, f, c, flags)
  elseif kind == 'X' then
    give_back(id, g, process, list, f, c + 1, flags)
  elseif kind == 'K' then
    give_back(id, g, process, list, f, c, string.find(flags, 'c', 1, true) and flags or flags .. 'c')
  elseif kind == 'R' and not string.find(flags, 'a', 1, true) then
    -- The owner stays, so that a repeat hears 'a' and not 'l'.
    redis.call('SET', names[x], 'w|' .. g .. mine .. list .. '|' .. (f + 1) .. '|' .. c .. '|' .. flags)
    schedule(id, now + tonumber(ms), list)
    expire_again(id, flags)
  else
    if kind == 'Q' then quarantine('message', id) state = 'F' end
    if kind == 'R' then state, ms = 'C', '600000' end
    local kept = KEPT[kind]
    state = kept or state
    local record = state .. '|' .. g .. mine .. outcome
    redis.call('SET', names[x], record, 'PX', ms)
    if state == 'F' then
      redis.call('PEXPIRE', P .. 'b:' .. id, ms)
      bury(id, queue_of(list), ms)
    elseif kept then
      redis.call('PEXPIRE', P .. 'b:' .. id, ms)
    else
      done[#done + 1] = P .. 'b:' .. id
    end
    if flags ~= '' then unhold(id, flags) end
    if waited then tell(id, record) end
    entries[#entries + 1] = state .. ' ' .. id .. ' ' .. task .. ' ' .. ARGV[i + 5]
  end
  if state then
    local label = task .. '|' .. state
    counts[label] = (counts[label] or 0) + 1
  end
end
if #done > 0 then redis.call('UNLINK', unpack(done)) end
recall(entries, counts)
return answers
