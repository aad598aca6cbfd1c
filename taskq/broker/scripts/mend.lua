-- mend: move keys of a wrong type out of the way, so that what they should hold can grow anew.
-- KEYS[1] meta   ARGV tail of a key, its type, tail, type, …
-- Returns the tails that were moved. They stay two weeks under `wrong:`. A repeat finds nothing.
--@include misfits
local moved = {}
for a = 1, #ARGV, 2 do
  if set_aside(ARGV[a], ARGV[a + 1]) then moved[#moved + 1] = ARGV[a] end
end
return moved
