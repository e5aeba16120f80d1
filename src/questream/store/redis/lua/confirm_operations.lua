-- The operations up to a number are published: the claim of the worker that published them ends.
-- KEYS: 1 meta
-- ARGV: 1 token of the claim, 2 number
-- Replies: 1, or 0 where the claim is another's
local meta_key, token, number = KEYS[1], ARGV[1], tonumber(ARGV[2])
local known = redis.call('HMGET', meta_key, 'operation_claim', 'operations_published')
if string.match(known[1] or '', '^(%S+) ') ~= token then return 0 end
local published = math.max(number, tonumber(known[2] or 0) or 0)
redis.call('HSET', meta_key, 'operations_published', as_text(published))
redis.call('HDEL', meta_key, 'operation_claim')
return 1
