-- Asked when states of clusters have their place in the cluster topic, before they count as published there: a cluster
-- that has moved on since has to be published again, since the worker that moved it may have published it before. Only what is
-- sent after this call takes it out of the outbox again: a count of the namespace, and not the clock, has that order.
-- KEYS: 1 meta, 2 outbox, then N clusters
-- ARGV: pairs of (id, revision) * N; for id 0, the namespace, its mean's question count + its next cluster's number
-- Replies: {current store epoch, outbox count, ms} as outbox_position.lua, or false where the namespace has to be
--          recovered first
local meta_key, outbox_key = KEYS[1], KEYS[2]
local now_ms = time_ms()
for i = 1, #ARGV / 2 do
  local id, revision, cluster_key = ARGV[2 * i - 1], ARGV[2 * i], KEYS[2 + i]
  local current_revision = revision_of(id, meta_key, cluster_key)
  if current_revision ~= revision then
    redis.call('ZADD', outbox_key, now_ms, id)
    -- A cluster that is gone for good gets no key again.
    if current_revision then
      local count = as_text(redis.call('HINCRBY', meta_key, 'outdated_count', 1))
      redis.call('HSET', id == '0' and meta_key or cluster_key, 'outdated', count)
    end
  end
end
local store_epoch = current_store_epoch(meta_key)
return store_epoch and {store_epoch, outdated_count(meta_key), now_ms}
