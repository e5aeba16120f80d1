-- Let one of those who would find a namespace's levels anew do it. It guards nothing but work done twice.
-- KEYS: 1 levels
-- ARGV: 1 who asks, without spaces, 2 ms from now, 0 to let it go
-- Replies: 1 where the lease is of the one who asks, else 0
local levels_key, asking, lease_ms = KEYS[1], ARGV[1], ARGV[2]
if is_other('HGET', levels_key, 'lease') then redis.call('DEL', levels_key) end
local now_ms = time_ms()
local holder, until_ms = string.match(redis.call('HGET', levels_key, 'lease') or '', '^(%S+) (%d+)$')
local left_ms = holder and tonumber(until_ms) - now_ms or 0
-- One that ends further away than any lasts was taken by another clock.
if holder ~= asking and left_ms > 0 and left_ms <= 600000 then return 0 end
if lease_ms == '0' then
  redis.call('HDEL', levels_key, 'lease')
else
  redis.call('HSET', levels_key, 'lease', asking .. ' ' .. as_text(now_ms + lease_ms))
end
return 1
