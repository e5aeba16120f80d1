-- Let one of those who would find a namespace's levels anew, or publish them, do it. It guards nothing but work done twice.
-- KEYS: 1 meta, 2 levels
-- ARGV: 1 who asks, without spaces, 2 ms from now, 0 to let it go
-- Replies: 1 where the lease is of the one who asks, else 0; or error LOST
local meta_key, levels_key, asking, lease_ms = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local store_epoch = current_store_epoch(meta_key)
local damaged = store_epoch and lease_ms ~= '0' and levels_damage(meta_key, store_epoch)
if damaged then return lost(damaged) end
return take_lease(levels_key, 'lease', asking, lease_ms, 600000)
