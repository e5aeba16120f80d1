-- Retire clusters: they leave the index at once, and the cluster topic by a tombstone that the outbox brings later.
-- What is left of one is a stub without a vector, which confirm.lua lets go. Refused, and left as it is, is one that was
-- seen after ARGV.until or is not in the index any more, and one with a label or a route: those are an operator's word.
-- KEYS: 1 meta, 2 log, 3 outbox, 4 idle, 5 singletons, 6 aliases, then N clusters or merged ids
-- ARGV: 1 JSON {most, log_entries, index: 4, 5 or 6, until, tombstone_ms, ids: [id * N]}
-- Replies: the ids that were retired, `most` of them, or error RECOVERY_NEEDED or LOST
if not current_store_epoch(KEYS[1]) then return recovery_needed() end
local batch = cjson.decode(ARGV[1])
local meta = redis.call('HMGET', KEYS[1], 'seq', 'next', 'mean_questions', 'live', 'live_seq')
local damaged = damage(meta, KEYS[2], KEYS[4])
if damaged then return lost(damaged) end
local seq = tonumber(meta[1])
for _, name in ipairs({KEYS[3], KEYS[5], KEYS[6]}) do redis.call('ZCARD', name) end
for i, number in ipairs(batch.ids) do
  local seen = redis.call('ZSCORE', KEYS[batch.index], string.format('%.0f', number))
  if seen and not is_number(redis.call('HGET', KEYS[6 + i], 'revision')) then return lost('a cluster is cut short') end
end

local now = redis.call('TIME')
local tombstone_at = now[1] * 1000 + math.floor(now[2] / 1000) + batch.tombstone_ms
local retired, entry = {}, 0
for i, number in ipairs(batch.ids) do
  local key, id = KEYS[6 + i], string.format('%.0f', number)
  local seen = redis.call('ZSCORE', KEYS[batch.index], id)
  local kept = redis.call('HMGET', key, 'label', 'route')
  local is_alias = batch.index == 6
  if #retired < batch.most and seen and tonumber(seen) <= batch["until"] and (is_alias or not kept[1] and not kept[2]) then
    redis.call('ZREM', KEYS[4], id)
    redis.call('ZREM', KEYS[5], id)
    redis.call('ZREM', KEYS[6], id)
    redis.call('HDEL', key, 'members', 'sum', 'representative', 'label', 'route', 'labelled', 'merged_into', 'joins',
      'absorbed')
    redis.call('HSET', key, 'retired', '1')
    redis.call('HINCRBY', key, 'revision', 1)
    redis.call('ZADD', KEYS[3], string.format('%.0f', tombstone_at), id)
    if not is_alias then
      if entry == 0 then seq = seq + 1 end
      entry = entry + 1
      redis.call('XADD', KEYS[2], string.format('%.0f-%d', seq, entry), 'removed', id)
    end
    retired[#retired + 1] = number
  end
end
if entry > 0 then
  redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', seq))
  count_live(KEYS[1], KEYS[4], seq)
  redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', batch.log_entries)
end
return retired
