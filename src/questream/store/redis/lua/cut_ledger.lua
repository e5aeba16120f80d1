-- Put what is left of a ledger in the place of what was read of it.
-- KEYS: 1 ledger, 2 meta
-- ARGV: 1 its newest entry as it was read, 2 topic/partition, then the N entries that stay, oldest first
-- Replies: 0 where it has moved on since it was read, else 1
local ledger_key, meta_key, newest, partition = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if redis.call('LINDEX', ledger_key, -1) ~= newest then return 0 end
redis.call('DEL', ledger_key)
for i = 3, #ARGV do redis.call('RPUSH', ledger_key, ARGV[i]) end
local field = 'head:' .. partition
local store_epoch = string.match(redis.call('HGET', meta_key, field) or '', '^(%S+) %d+$')
local head = string.match(ARGV[#ARGV], '^%d+ (%d+) ')
if store_epoch and #ARGV > 2 and head then
  redis.call('HSET', meta_key, field, store_epoch .. ' ' .. head)
else
  redis.call('HDEL', meta_key, field)
end
return 1
