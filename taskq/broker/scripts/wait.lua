-- wait: give what has ended, and have `client` told of the rest.
-- KEYS[1] meta   ARGV client, id, id, …
-- Returns for each id its record if it has ended, '' if the client will be told, false if nothing is known of it.
-- A repeat registers the same again. On a full Redis nothing is registered: the client looks again by itself.
local client, names, answers = ARGV[1], {}, {}
for a = 2, #ARGV do
  names[#names + 1] = P .. 't:' .. ARGV[a]
end
local records = redis.call('MGET', unpack(names))
for x, record in ipairs(records) do
  local id = ARGV[x + 1]
  if record and string.find(record, '^[SFCE]|') then
    answers[x] = record
  elseif record or redis.call('EXISTS', P .. 'b:' .. id) == 1 then
    answers[x] = ''
    local clients = redis.pcall('HGET', P .. 'waits', id)
    if type(clients) ~= 'string' then
      redis.pcall('HSET', P .. 'waits', id, client)
    elseif not string.find(' ' .. clients .. ' ', ' ' .. client .. ' ', 1, true) and #clients < 2000 then
      redis.pcall('HSET', P .. 'waits', id, clients .. ' ' .. client)
    end
  else
    answers[x] = false
  end
end
return answers
