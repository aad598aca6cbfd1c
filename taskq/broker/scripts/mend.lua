-- mend: move keys of a wrong type out of the way, so that what they should hold can grow anew.
-- KEYS[1] meta   ARGV tail of a key, its type, tail, type, …
-- Returns the tails that were moved. They stay two weeks under `wrong:`. A repeat finds nothing.
local moved = {}
for a = 1, #ARGV, 2 do
  local found = redis.call('TYPE', P .. ARGV[a])
  found = found.ok or found
  if found ~= 'none' and found ~= ARGV[a + 1] then
    redis.call('RENAME', P .. ARGV[a], P .. 'wrong:' .. ARGV[a])
    redis.call('PEXPIRE', P .. 'wrong:' .. ARGV[a], 1209600000)
    quarantine('type ' .. found, ARGV[a])
    moved[#moved + 1] = ARGV[a]
  end
end
return moved
