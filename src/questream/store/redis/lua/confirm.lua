-- What was published leaves the outbox, unless it has changed since: two workers may publish a cluster in either order,
-- so a worker that finds it changed leaves it there to be published again, and nobody takes out what was put there after his
-- own records were sent: an older state may have come after them (verify_before_commit.lua). A count orders what came after; a
-- clock may be set back, and a worker of an earlier release goes by it alone. Nothing leaves in another store epoch than
-- the records were sent in: what the store forgot may be there anew. What a cluster counts is no longer in
-- flight once the offset of the question is committed, or the merge is published. A retired cluster whose tombstone is
-- published goes for good after ten minutes: a worker that publishes an earlier state of it until then finds it changed too.
-- KEYS: 1 outbox, 2 meta, then N clusters
-- ARGV: 1 JSON {topic/partition: committed offset}, 2 to 4 the outbox position before the records were sent: store
--       epoch, count, ms; then pairs of (id, revision) * N; for id 0, the namespace, its mean's question count + its next
--       cluster's number
-- Replies: how many are published in their present states
local outbox_key, meta_key = KEYS[1], KEYS[2]
local committed, store_epoch = cjson.decode(ARGV[1]), ARGV[2]
local sent_count, sent_ms = tonumber(ARGV[3]), tonumber(ARGV[4])
if (current_store_epoch(meta_key) or '') ~= store_epoch then return 0 end
local now_ms = time_ms()
local count = outdated_count(meta_key)
local settled, merges = 0, {}

local function came_later(id, key)
  local outdated = tonumber(redis.call('HGET', key, 'outdated') or 0) or 0
  -- A count that the namespace has not come to is one of before the namespace lost its numbers.
  if outdated > sent_count and outdated <= count then return true end
  local waits_since_ms = tonumber(redis.call('ZSCORE', outbox_key, id) or 0)
  -- A time that has not come is that of a clock that was set back, or of a tombstone.
  local ahead = waits_since_ms > now_ms and redis.call('HEXISTS', key, 'retired') == 0
  return waits_since_ms > sent_ms and not ahead
end

for i = 1, (#ARGV - 4) / 2 do
  local id, revision, cluster_key = ARGV[2 * i + 3], ARGV[2 * i + 4], KEYS[2 + i]
  local current_revision = revision_of(id, meta_key, cluster_key)
  if not current_revision or current_revision == revision then
    if not current_revision or not came_later(id, id == '0' and meta_key or cluster_key) then
      redis.call('ZREM', outbox_key, id)
      if redis.call('HEXISTS', cluster_key, 'retired') == 1 then redis.call('EXPIRE', cluster_key, 600) end
      settled = settled + 1
    end
    if redis.call('HEXISTS', cluster_key, 'merged_into') == 1 then merges[id] = true end
  else
    redis.call('ZADD', outbox_key, 'NX', now_ms, id)
  end
end

local function put(key, field, text)
  if text == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, text) end
end

for i = 3, #KEYS do
  local cluster_key = KEYS[i]
  local joins, absorbed = unpack(redis.call('HMGET', cluster_key, 'joins', 'absorbed'))
  local left, any = joins and parsed_joins(joins), false
  if left then
    for partition, offsets in pairs(left) do
      local open = {}
      for _, offset in ipairs(offsets) do
        if offset >= (committed[partition] or 0) then open[#open + 1] = offset end
      end
      left[partition] = open[1] and open or nil
      any = any or open[1] ~= nil
    end
    put(cluster_key, 'joins', any and cjson.encode(left) or '')
  end
  if absorbed then
    local left = {}
    for id in string.gmatch(absorbed, '%d+') do
      if not merges[id] then left[#left + 1] = id end
    end
    put(cluster_key, 'absorbed', table.concat(left, ' '))
  end
end
return settled
