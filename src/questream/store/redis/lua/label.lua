-- Set or remove a cluster's label and route.
-- KEYS: 1 cluster, 2 outbox, 3 meta
-- ARGV: 1 id, then pairs of (field, text); an empty text removes the field
-- Replies: 0 if there is no such live cluster, else 1; or error RECOVERY_NEEDED or LOST
if not current_store_epoch(KEYS[3]) then return recovery_needed() end
local known = redis.call('HMGET', KEYS[1], 'members', 'merged_into', 'retired', 'size', 'revision')
if not known[1] then
  if known[4] and not known[2] and not known[3] then return lost('a cluster is cut short') end
  return 0
end
if not is_number(known[5]) then return lost('a cluster is cut short') end
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'labelled', redis.call('HINCRBY', KEYS[1], 'revision', 1))
local now = redis.call('TIME')
redis.call('ZADD', KEYS[2], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
return 1
