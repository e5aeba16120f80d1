-- Which of these clusters are whole: every field is there, and the centroid is as long as the model's vectors. With a
-- token the indexes are made to agree with the clusters that do; without one nothing is written.
-- KEYS: 1 meta, 2 idle, 3 singletons, 4 aliases, then N clusters
-- ARGV: 1 token of the memory that is compared, or '', 2 dimension, then N ids
-- Replies: {the revision of one that is whole, -1 - the last known revision of one that does not, false where there
--           is none} * N; or false if somebody else has recovered the namespace, or its memory is another by now
local meta_key, idle_key, singletons_key, aliases_key = unpack(KEYS, 1, 4)
local token, sum_bytes = ARGV[1], 4 * tonumber(ARGV[2])
local mending = token ~= ''
if mending then
  if current_store_epoch(meta_key) or current(meta_key, 'settling') ~= token then return false end
  for _, key in ipairs({idle_key, singletons_key, aliases_key}) do
    if is_other('ZCARD', key) then redis.call('DEL', key) end
  end
end

local function score(key, id)
  local found = redis.pcall('ZSCORE', key, id)
  return not (type(found) == 'table' and is_other('ZSCORE', key, id)) and found
end

local function place(index, id, wanted)
  local found = score(index, id)
  if (found ~= false) == (wanted ~= false) then return true end
  if not mending then return false end
  if wanted then redis.call('ZADD', index, wanted, id) else redis.call('ZREM', index, id) end
  return true
end

local replies = {}
for i = 5, #KEYS do
  local cluster_key, id = KEYS[i], ARGV[i - 2]
  local known = redis.pcall('HMGET', cluster_key, 'revision', 'size', 'members', 'created', 'seen', 'merged_into', 'retired',
    'joins')
  known.err = known.err and is_other('HMGET', cluster_key, 'revision')
  local exists = known.err or known[1] or known[2] or known[3] or known[4] or known[5] or known[6] or known[7]
  local revision, seen = tonumber(known[1] or nil), tonumber(known[5] or nil)
  local whole = is_number(known[1]) and is_number(known[2]) and is_number(known[4]) and is_number(known[5])
  local idle, singleton, alias = false, false, false
  if known[7] then
    whole = is_number(known[1])
  elseif known[6] then
    whole = whole and is_number(known[6])
    -- An alias keeps the time at which it was merged, which only the index knows.
    alias = known[5]
  else
    whole = is_whole({known[3], known[2], known[1], known[4], known[5], known[8]})
      and #(redis.call('HGET', cluster_key, 'sum') or '') == sum_bytes
    idle = known[5]
    singleton = known[2] == '1' and known[5]
  end
  if not exists then
    replies[i - 4] = (score(idle_key, id) or score(aliases_key, id)) and -1 or false
  elseif whole and place(idle_key, id, idle) and place(singletons_key, id, singleton) and place(aliases_key, id, alias) then
    replies[i - 4] = revision
  else
    replies[i - 4] = -1 - (revision or 0)
  end
end
return replies
