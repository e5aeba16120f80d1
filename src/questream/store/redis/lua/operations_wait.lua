-- Whether operations wait to be published that no other worker has claimed.
-- KEYS: 1 meta
-- Replies: 1 or 0
local meta_key = KEYS[1]
local store_epoch = current_store_epoch(meta_key)
local known = redis.call('HMGET', meta_key, 'operation_count', 'operations_published', 'operation_epoch', 'operation_claim')
local newest, published = tonumber(known[1] or 0) or 0, tonumber(known[2] or 0) or 0
local left_ms = (tonumber(string.match(known[4] or '', ' (%d+)$') or 0) or 0) - time_ms()
if not store_epoch or newest == 0 then return 0 end
if known[3] ~= store_epoch then return 1 end
if published >= newest or left_ms > 0 and left_ms <= 3600000 then return 0 end
return 1
