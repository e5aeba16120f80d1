-- Let one of those who recover a namespace do it, while the others wait. It guards nothing but work done twice: what is put
-- back is guarded by the token, whoever has the lease.
-- KEYS: 1 meta
-- ARGV: 1 token of the memory that is compared, 2 who asks, without spaces, 3 ms from now, 0 to let it go
-- Replies: 1 where the lease is of the one who asks, else 0; 0 too where the namespace is recovered or its memory another
if current_store_epoch(KEYS[1]) or current(KEYS[1], 'settling') ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local holder, until_ms = string.match(redis.call('HGET', KEYS[1], 'settler') or '', '^(%S+) (%d+)$')
local left_ms = holder and tonumber(until_ms) - now_ms or 0
-- One that ends further away than any lasts was taken by another clock.
if holder ~= ARGV[2] and left_ms > 0 and left_ms <= 60000 then return 0 end
if ARGV[3] == '0' then
  redis.call('HDEL', KEYS[1], 'settler')
else
  redis.call('HSET', KEYS[1], 'settler', ARGV[2] .. string.format(' %.0f', now_ms + ARGV[3]))
end
return 1
