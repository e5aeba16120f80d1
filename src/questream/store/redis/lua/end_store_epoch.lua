-- End the store epoch of a namespace that has to be recovered, and keep a release before this one from recovering it: that
-- would restore a part of what is lost, without levels and operations, and begin a store epoch in which the loss is found
-- again, for ever. It knows the move to another model, and waits as long as a namespace is held for one.
-- KEYS: 1 meta
-- ARGV: 1 nonce, 2 for how many ms from now; a worker that recovers makes it longer (lease.lua)
local meta_key, nonce, wait_ms = KEYS[1], ARGV[1], ARGV[2]
if is_other('HEXISTS', meta_key, 'incarnation') then redis.call('DEL', meta_key) end
if redis.call('HDEL', meta_key, 'incarnation') == 0 then return end
local token = this_process() .. ':' .. nonce
redis.call('HSET', meta_key, 'settling', token, 'reserved', token, 'held_until', as_text(time_ms() + wait_ms))
