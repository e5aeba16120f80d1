-- Let one of those who would find a namespace's levels anew do it. It guards nothing but work done twice.
-- KEYS: 1 levels
-- ARGV: 1 who asks, without spaces, 2 ms from now, 0 to let it go
-- Replies: 1 where the lease is of the one who asks, else 0
local levels_key, asking, lease_ms = KEYS[1], ARGV[1], ARGV[2]
return take_lease(levels_key, 'lease', asking, lease_ms, 600000)
