-- The recorded decisions of a partition, and the store epoch that they stand in.
-- KEYS: 1 meta, 2 ledger
-- Replies: {store epoch, entries}, or error RECOVERY_NEEDED
local meta_key, ledger_key = KEYS[1], KEYS[2]
local store_epoch = current_store_epoch(meta_key)
if not store_epoch then return recovery_needed() end
return {store_epoch, redis.call('LRANGE', ledger_key, 0, -1)}
