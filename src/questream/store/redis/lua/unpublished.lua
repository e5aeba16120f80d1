-- Clusters that have waited in the outbox for long: whoever changed them has not published them.
-- KEYS: 1 outbox
-- ARGV: 1 how long in ms, 2 how many at most
-- Replies: ids, longest waiting first
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
return redis.call('ZRANGE', KEYS[1], '-inf', now_ms - tonumber(ARGV[1]), 'BYSCORE', 'LIMIT', 0, ARGV[2])
