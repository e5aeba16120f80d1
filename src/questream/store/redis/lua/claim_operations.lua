-- Claim the operations that wait to be published for one worker. Its claim ends with `confirm_operations`, or by itself.
-- Fields of meta: operations_published, up to which number they are published; operation_epoch, the store epoch in which
-- that was compared with the topic, or the token of the recovery that did; operation_claim, whose claim is in force until when.
-- KEYS: 1 meta
-- ARGV: 1 token, 2 how long the claim lasts in ms
-- Replies: {store epoch, number of the last published one, number of the last one, 1 where what was published has been
--          compared with the store in this store epoch, else 0}; false where nothing waits or the claim is another's; or
--          error RECOVERY_NEEDED
local meta_key, token, claim_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local store_epoch = current_store_epoch(meta_key)
if not store_epoch then return recovery_needed() end
local known = redis.call('HMGET', meta_key, 'operation_count', 'operations_published', 'operation_epoch', 'operation_claim')
local newest, published = tonumber(known[1] or 0) or 0, tonumber(known[2] or 0) or 0
local compared, now_ms = known[3] == store_epoch, time_ms()
local holder, deadline = string.match(known[4] or '', '^(%S+) (%d+)$')
local is_another = holder and holder ~= token
local left_ms = (tonumber(deadline or 0) or 0) - now_ms
-- A deadline further away than an hour was set by another clock.
if is_another and compared and left_ms > 0 and left_ms <= 3600000 then return false end
if newest == 0 or compared and published >= newest then return false end
if is_another and compared then
  -- He may have died after his records were committed.
  compared = false
  redis.call('HDEL', meta_key, 'operation_epoch')
end
redis.call('HSET', meta_key, 'operation_claim', token .. ' ' .. as_text(now_ms + claim_ms))
return {store_epoch, published, newest, compared and 1 or 0}
