-- Whether operations wait to be published that no other worker has claimed, and levels that nobody has the lease of; and
-- the rules of the namespace.
-- KEYS: 1 meta, 2 levels
-- Replies: {1 or 0, 1 or 0, the field `rules` of meta or ''}
local meta_key, levels_key = KEYS[1], KEYS[2]
local store_epoch = current_store_epoch(meta_key)
if not store_epoch then return {0, 0, ''} end

local function operations_wait()
  local known = redis.call('HMGET', meta_key, 'operation_count', 'operations_published', 'operation_epoch', 'operation_claim')
  local newest, published = tonumber(known[1] or 0) or 0, tonumber(known[2] or 0) or 0
  local left_ms = (tonumber(string.match(known[4] or '', ' (%d+)$') or 0) or 0) - time_ms()
  if newest == 0 then return false end
  if known[3] ~= store_epoch then return true end
  return published < newest and not (left_ms > 0 and left_ms <= 3600000)
end

local function levels_wait()
  if is_other('HGET', levels_key, 'version') then return false end
  local known = redis.call('HMGET', levels_key, 'version', 'published', 'lease')
  local left_ms = (tonumber(string.match(known[3] or '', ' (%d+)$') or 0) or 0) - time_ms()
  return is_number(known[1]) and known[1] ~= known[2] and not (left_ms > 0 and left_ms <= 600000)
end

return {operations_wait() and 1 or 0, levels_wait() and 1 or 0, redis.call('HGET', meta_key, 'rules') or ''}
