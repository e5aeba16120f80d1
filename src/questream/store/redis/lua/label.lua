-- Set or remove a cluster's label and route.
-- KEYS: 1 cluster, 2 outbox, 3 meta
-- ARGV: 1 id, then pairs of (field, text); an empty text removes the field
-- Replies: 0 if there is no such live cluster, else 1; or error RECOVERY_NEEDED or LOST
local cluster_key, outbox_key, meta_key, id = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if not current_store_epoch(meta_key) then return recovery_needed() end
local known = redis.call('HMGET', cluster_key, 'members', 'merged_into', 'retired', 'size', 'revision')
if not known[1] then
  if known[4] and not known[2] and not known[3] then return lost('a cluster is cut short') end
  return 0
end
if not is_number(known[5]) then return lost('a cluster is cut short') end
for i = 2, #ARGV, 2 do
  local field, text = ARGV[i], ARGV[i + 1]
  if text == '' then
    redis.call('HDEL', cluster_key, field)
  else
    redis.call('HSET', cluster_key, field, text)
  end
end
redis.call('HSET', cluster_key, 'labelled', redis.call('HINCRBY', cluster_key, 'revision', 1))
redis.call('ZADD', outbox_key, time_ms(), id)
return 1
