-- Put back clusters that the cluster topic knows in a later revision than the namespace does, or knows to be retired.
-- KEYS: 1 meta, 2 idle, 3 outbox, then N clusters, then singletons, aliases
-- ARGV: 1 token of the memory that was compared, 2 JSON [{id, revision, retired, damaged, publish, fields: {field: text}}] * N, then N sums or ''
-- Replies: how many were put back, or -1 if somebody else has recovered the namespace, or its memory is another by now
if current_store_epoch(KEYS[1]) or current(KEYS[1], 'settling') ~= ARGV[1] then return -1 end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local singletons, aliases = KEYS[#KEYS - 1], KEYS[#KEYS]
for _, name in ipairs({KEYS[2], KEYS[3], singletons, aliases}) do
  if is_other('ZCARD', name) then redis.call('DEL', name) end
end
local restored = 0
for i, cluster in ipairs(cjson.decode(ARGV[2])) do
  local key, id = KEYS[3 + i], string.format('%.0f', cluster.id)
  if is_other('HEXISTS', key, 'revision') then redis.call('DEL', key) end
  local known = redis.call('HGET', key, 'revision')
  if cluster.retired then
    restored = restored + redis.call('DEL', key)
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
    redis.call('ZREM', singletons, id)
    redis.call('ZREM', aliases, id)
  elseif not known or cluster.damaged or (tonumber(known) or -1) < cluster.revision then
    redis.call('DEL', key)
    redis.call('HSET', key, 'revision', string.format('%.0f', cluster.revision))
    for field, text in pairs(cluster.fields) do redis.call('HSET', key, field, text) end
    redis.call('ZREM', singletons, id)
    redis.call('ZREM', aliases, id)
    if ARGV[2 + i] == '' then
      redis.call('ZREM', KEYS[2], id)
      if cluster.fields.merged_into then redis.call('ZADD', aliases, cluster.fields.seen, id) end
    else
      redis.call('HSET', key, 'sum', ARGV[2 + i])
      redis.call('ZADD', KEYS[2], cluster.fields.seen, id)
      if cluster.fields.size == '1' then redis.call('ZADD', singletons, cluster.fields.seen, id) end
    end
    redis.call('ZREM', KEYS[3], id)
    if cluster.publish then redis.call('ZADD', KEYS[3], now_ms, id) end
    restored = restored + 1
  elseif cluster.publish then
    redis.call('ZADD', KEYS[3], 'NX', now_ms, id)
  end
end
return restored
