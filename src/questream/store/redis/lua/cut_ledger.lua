-- Put what is left of a ledger in the place of what was read of it.
-- KEYS: 1 ledger
-- ARGV: 1 its newest entry as it was read, then the N entries that stay, oldest first
-- Replies: 0 where it has moved on since it was read, else 1
local ledger_key, newest = KEYS[1], ARGV[1]
if redis.call('LINDEX', ledger_key, -1) ~= newest then return 0 end
redis.call('DEL', ledger_key)
for i = 2, #ARGV do redis.call('RPUSH', ledger_key, ARGV[i]) end
return 1
