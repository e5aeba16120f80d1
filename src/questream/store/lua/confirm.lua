-- What was published leaves the outbox, unless it has changed since: two workers may publish a cluster in either order,
-- so whoever finds it changed leaves it there to be published again.
-- KEYS: 1 outbox, 2 meta, then N clusters
-- ARGV: pairs of (id, revision) * N; for id 0, the namespace, its mean's question count + its next cluster's number
-- Replies: how many are published as they stand
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local settled = 0
for i = 1, #ARGV / 2 do
  local id, revision = ARGV[2 * i - 1], ARGV[2 * i]
  local current
  if id == '0' then
    local meta = redis.call('HMGET', KEYS[2], 'mean_questions', 'next')
    current = meta[1] and string.format('%.0f', meta[1] + meta[2])
  else
    current = redis.call('HGET', KEYS[2 + i], 'revision')
  end
  if not current or current == revision then
    redis.call('ZREM', KEYS[1], id)
    settled = settled + 1
  else
    redis.call('ZADD', KEYS[1], 'NX', now_ms, id)
  end
end
return settled
