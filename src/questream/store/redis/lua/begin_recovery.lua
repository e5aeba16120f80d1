-- Begin to compare the namespace with the cluster topic: what is restored and recovered later holds only if the memory
-- that was compared is still there.
-- KEYS: 1 meta
-- ARGV: 1 nonce
-- Replies: the token of this memory, the same for all who recover it; false while somebody holds the namespace; error
--          LEFT where the namespace has moved to another store for good
local meta_key, nonce = KEYS[1], ARGV[1]
if is_other('HEXISTS', meta_key, 'moved') then redis.call('DEL', meta_key) end
if redis.call('HEXISTS', meta_key, 'moved') == 1 then return redis.error_reply('LEFT for another store') end
-- A number that cannot be read is missing: what it was is restored.
for _, field in ipairs({'seq', 'next', 'mean_questions', 'generation', 'dimension', 'live', 'live_seq', 'outdated_count', 'operation_count',
    'operations_published', 'held_until', 'threshold'}) do
  local text = redis.call('HGET', meta_key, field)
  if text and not (is_number(text) or field == 'threshold' and tonumber(text)) then redis.call('HDEL', meta_key, field) end
end
-- Operations are those of the topic, and those that are left.
redis.call('HDEL', meta_key, 'operation_kept')
local mean_sum = redis.call('HGET', meta_key, 'mean_sum')
if mean_sum and #mean_sum ~= 4 * tonumber(redis.call('HGET', meta_key, 'dimension') or 0) then
  redis.call('HDEL', meta_key, 'mean_sum')
end
local rules = string.match(redis.call('HGET', meta_key, 'rules') or '0 ', '^%d+ (.*)$')
if not rules or rules ~= '' and not pcall(cjson.decode, rules) then redis.call('HDEL', meta_key, 'rules') end
-- Whose home cannot be read is as one that was emptied.
local home = redis.call('HGET', meta_key, 'home')
if home and not string.match(home, '^%d+ %w+ %w+') then redis.call('HDEL', meta_key, 'home') end
local token = current(meta_key, 'settling')
local held_until = redis.call('HGET', meta_key, 'held_until')
-- What is reserved waits for releases that know the field: end_store_epoch.lua.
if held_until and not (token and redis.call('HGET', meta_key, 'reserved') == token) then
  if token and time_ms() < tonumber(held_until) then return false end
  -- The former holder is late: its token must be good for nothing from here on.
  redis.call('HDEL', meta_key, 'held_until')
  token = false
end
if not token then
  token = this_process() .. ':' .. nonce
  redis.call('HSET', meta_key, 'settling', token)
end
return token
