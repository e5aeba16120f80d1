-- The recorded decisions of a partition, and the store epoch that they stand in.
-- KEYS: 1 meta, 2 ledger
-- Replies: {store epoch, entries}, or error RECOVERY_NEEDED
local store_epoch = current_store_epoch(KEYS[1])
if not store_epoch then return recovery_needed() end
return {store_epoch, redis.call('LRANGE', KEYS[2], 0, -1)}
