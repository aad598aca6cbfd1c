-- beat: extend the leases of a supervisor's processes and bring back which of their tasks are to be cancelled.
-- KEYS[1] meta   ARGV lease_ms, process, process, …
-- Returns a list beside ARGV: {1, id, g, id, g, …} the lease holds, cancel these; {0} it was reaped: drop all, take a new name.
-- A repeat only extends again. Begins with a freeing write, so it runs on a full Redis.
redis.pcall('ZREM', P .. 'procs', '')
local lease, answers = tonumber(ARGV[1]), {}
for a = 2, #ARGV do
  local process = ARGV[a]
  if type(redis.pcall('ZSCORE', P .. 'procs', process)) == 'string' then
    redis.call('ZADD', P .. 'procs', 'XX', int(now + lease), process)
    redis.pcall('HINCRBY', P .. 'beats', process, 1)
    redis.pcall('PEXPIRE', P .. 'info:' .. process, int(lease * 4))
    local answer, control = { 1 }, P .. 'control:' .. process
    local many = redis.pcall('HLEN', control)
    -- So many were not asked by us: they would make each beat a long one.
    if type(many) == 'number' and many > 10000 then redis.call('UNLINK', control) end
    local asked = redis.pcall('HGETALL', control)
    if not failed(asked) then
      for i = 1, #asked do answer[i + 1] = asked[i] end
    end
    answers[#answers + 1] = answer
  else
    answers[#answers + 1] = { 0 }
  end
end
return answers
