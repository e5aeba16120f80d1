-- Let one of those who recover a namespace do it, while the others wait. It guards nothing but work done twice: what is put
-- back is guarded by the token, whichever worker has the lease.
-- KEYS: 1 meta
-- ARGV: 1 token of the memory that is compared, 2 who asks, without spaces, 3 ms from now, 0 to let it go
-- Replies: 1 where the lease is of the one who asks, else 0; 0 too where the namespace is recovered or its memory another
local meta_key, token, asking, lease_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if current_store_epoch(meta_key) or current(meta_key, 'settling') ~= token then return 0 end
local is_leased = take_lease(meta_key, 'settler', asking, lease_ms, 60000)
local held_until = tonumber(redis.call('HGET', meta_key, 'held_until') or nil)
if is_leased == 1 and held_until and redis.call('HGET', meta_key, 'reserved') == token then
  redis.call('HSET', meta_key, 'held_until', as_text(math.max(held_until, time_ms() + lease_ms)))
end
return is_leased
