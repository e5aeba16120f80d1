-- Clusters that have waited in the outbox for long: the worker that changed them has not published them.
-- KEYS: 1 outbox
-- ARGV: 1 how long in ms, 2 how many at most
-- Replies: ids, longest waiting first
local outbox_key, waiting_ms, most = KEYS[1], tonumber(ARGV[1]), ARGV[2]
return redis.call('ZRANGE', outbox_key, '-inf', time_ms() - waiting_ms, 'BYSCORE', 'LIMIT', 0, most)
