-- Put back clusters that the cluster topic knows in a later revision than the namespace does, or knows to be retired.
-- KEYS: 1 meta, 2 idle, 3 outbox, then N clusters, then singletons, aliases
-- ARGV: 1 token of the memory that was compared, 2 JSON [{id, revision, retired, damaged, publish, fields: {field: text}}] * N, then N sums or ''
-- Replies: how many were restored, or -1 if somebody else has recovered the namespace, or its memory is another by now
local meta_key, idle_key, outbox_key = KEYS[1], KEYS[2], KEYS[3]
local singletons_key, aliases_key = KEYS[#KEYS - 1], KEYS[#KEYS]
local token, clusters = ARGV[1], cjson.decode(ARGV[2])
local function cluster_key(i) return KEYS[3 + i] end
local function vector_sum(i) return ARGV[2 + i] end
if current_store_epoch(meta_key) or current(meta_key, 'settling') ~= token then return -1 end
local now_ms = time_ms()
for _, key in ipairs({idle_key, outbox_key, singletons_key, aliases_key}) do
  if is_other('ZCARD', key) then redis.call('DEL', key) end
end
local restored, operation_count = 0, 0
for i, cluster in ipairs(clusters) do
  local key, id = cluster_key(i), as_text(cluster.id)
  if is_other('HEXISTS', key, 'revision') then redis.call('DEL', key) end
  local known = redis.call('HGET', key, 'revision')
  if cluster.retired then
    restored = restored + redis.call('DEL', key)
    redis.call('ZREM', idle_key, id)
    redis.call('ZREM', outbox_key, id)
    redis.call('ZREM', singletons_key, id)
    redis.call('ZREM', aliases_key, id)
  elseif not known or cluster.damaged or (tonumber(known) or -1) < cluster.revision then
    redis.call('DEL', key)
    redis.call('HSET', key, 'revision', as_text(cluster.revision))
    local operation = string.match(cluster.fields.ruled or '0', '^%d+')
    operation_count = math.max(operation_count, tonumber(operation))
    for field, text in pairs(cluster.fields) do redis.call('HSET', key, field, text) end
    redis.call('ZREM', singletons_key, id)
    redis.call('ZREM', aliases_key, id)
    if vector_sum(i) == '' then
      redis.call('ZREM', idle_key, id)
      if cluster.fields.merged_into then redis.call('ZADD', aliases_key, cluster.fields.seen, id) end
    else
      redis.call('HSET', key, 'sum', vector_sum(i))
      redis.call('ZADD', idle_key, cluster.fields.seen, id)
      if cluster.fields.size == '1' then redis.call('ZADD', singletons_key, cluster.fields.seen, id) end
    end
    redis.call('ZREM', outbox_key, id)
    if cluster.publish then redis.call('ZADD', outbox_key, now_ms, id) end
    restored = restored + 1
  elseif cluster.publish then
    redis.call('ZADD', outbox_key, 'NX', now_ms, id)
  end
end
raise_operation_count(meta_key, operation_count)
return restored
