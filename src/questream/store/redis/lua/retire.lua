-- Retire clusters: they leave the index at once, and the cluster topic by a tombstone that the outbox brings later.
-- What is left of one is a stub without a vector, which confirm.lua lets go. Refused, and left as it is, is one that was
-- seen after ARGV.until or is not in the index any more, and one that people have decided anything of.
-- KEYS: 1 meta, 2 log, 3 outbox, 4 idle, 5 singletons, 6 aliases, then N clusters or merged ids
-- ARGV: 1 JSON {most, log_entries, index: 4, 5 or 6, until, tombstone_ms, ids: [id * N]}
-- Replies: the ids that were retired, `most` of them, or error RECOVERY_NEEDED or LOST
local meta_key, log_key, outbox_key, idle_key, singletons_key, aliases_key = unpack(KEYS, 1, 6)
local function cluster_key(i) return KEYS[6 + i] end
local batch = cjson.decode(ARGV[1])
local index_key, is_alias = KEYS[batch.index], batch.index == 6
if not current_store_epoch(meta_key) then return recovery_needed() end
local meta = redis.call('HMGET', meta_key, 'seq', 'next', 'mean_questions', 'live', 'live_seq')
local damaged = damage(meta, log_key, idle_key)
if damaged then return lost(damaged) end
require_zsets(outbox_key, singletons_key, aliases_key)
for i, number in ipairs(batch.ids) do
  local seen = redis.call('ZSCORE', index_key, as_text(number))
  if seen and not is_number(redis.call('HGET', cluster_key(i), 'revision')) then return lost('a cluster is cut short') end
end

local tombstone_at = time_ms() + batch.tombstone_ms
local retired, log = {}, open_log(log_key, tonumber(meta[1]))
for i, number in ipairs(batch.ids) do
  local key, id = cluster_key(i), as_text(number)
  local seen = redis.call('ZSCORE', index_key, id)
  local kept = redis.call('HMGET', key, 'label', 'route', 'ruled', 'exemplars', 'represented')
  local is_ruled = kept[1] or kept[2] or kept[4] or kept[5] or kept[3] and not string.match(kept[3], '^%d+ %-$')
  if #retired < batch.most and seen and tonumber(seen) <= batch["until"] and (is_alias or not is_ruled) then
    redis.call('ZREM', idle_key, id)
    redis.call('ZREM', singletons_key, id)
    redis.call('ZREM', aliases_key, id)
    redis.call('HDEL', key, 'members', 'sum', 'representative', 'label', 'route', 'labelled', 'merged_into', 'joins',
      'absorbed', 'ruled', 'features', 'exemplars', 'kept', 'represented')
    redis.call('HSET', key, 'retired', '1')
    redis.call('HINCRBY', key, 'revision', 1)
    redis.call('ZADD', outbox_key, as_text(tombstone_at), id)
    if not is_alias then log.append('removed', id) end
    retired[#retired + 1] = number
  end
end
close_log(log, meta_key, idle_key, batch.log_entries)
return retired
