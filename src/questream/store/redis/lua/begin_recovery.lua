-- Begin to compare the namespace with the cluster topic: what is put back and recovered later holds only if the memory
-- that was compared is still there.
-- KEYS: 1 meta
-- ARGV: 1 nonce
-- Replies: the token of this memory, the same for all who recover it; false while somebody holds the namespace; error
--          LEFT where the namespace has moved to another store for good
if redis.call('HEXISTS', KEYS[1], 'moved') == 1 then return redis.error_reply('LEFT for another store') end
-- A number that cannot be read is missing: what it was is put back.
for _, field in ipairs({'seq', 'next', 'mean_questions', 'generation', 'dimension', 'live', 'live_seq', 'outdated_count',
    'held_until', 'threshold'}) do
  local text = redis.call('HGET', KEYS[1], field)
  if text and not (is_number(text) or field == 'threshold' and tonumber(text)) then redis.call('HDEL', KEYS[1], field) end
end
local mean_sum = redis.call('HGET', KEYS[1], 'mean_sum')
if mean_sum and #mean_sum ~= 4 * tonumber(redis.call('HGET', KEYS[1], 'dimension') or 0) then
  redis.call('HDEL', KEYS[1], 'mean_sum')
end
local token = current(KEYS[1], 'settling')
local held_until = redis.call('HGET', KEYS[1], 'held_until')
if held_until then
  local now = redis.call('TIME')
  if token and now[1] * 1000 + math.floor(now[2] / 1000) < tonumber(held_until) then return false end
  -- Whoever held it is late: its token must be good for nothing from here on.
  redis.call('HDEL', KEYS[1], 'held_until')
  token = false
end
if not token then
  token = this_process() .. ':' .. ARGV[1]
  redis.call('HSET', KEYS[1], 'settling', token)
end
return token
