-- Asked when states of clusters have their place in the cluster topic, before they count as published there: a cluster
-- that has moved on since has to be published again, since whoever moved it may have told the topic before. Only what is
-- sent after this call takes it out of the outbox again: a count of the namespace, and not the clock, tells that order.
-- KEYS: 1 meta, 2 outbox, then N clusters
-- ARGV: pairs of (id, revision) * N; for id 0, the namespace, its mean's question count + its next cluster's number
-- Replies: {store epoch that stands, outbox count, ms} as outbox_position.lua, or false where the namespace has to be
--          recovered first
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
for i = 1, #ARGV / 2 do
  local id, revision = ARGV[2 * i - 1], ARGV[2 * i]
  local current_revision = revision_of(id, KEYS[1], KEYS[2 + i])
  if current_revision ~= revision then
    redis.call('ZADD', KEYS[2], now_ms, id)
    -- A cluster that is gone for good gets no key again.
    if current_revision then
      local count = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'outdated_count', 1))
      redis.call('HSET', id == '0' and KEYS[1] or KEYS[2 + i], 'outdated', count)
    end
  end
end
local store_epoch = current_store_epoch(KEYS[1])
return store_epoch and {store_epoch, tonumber(redis.call('HGET', KEYS[1], 'outdated_count')) or 0, now_ms}
