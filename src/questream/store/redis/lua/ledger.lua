-- The recorded decisions of a partition, and the store epoch that they are of.
-- KEYS: 1 meta, 2 ledger
-- ARGV: 1 topic/partition
-- Replies: {store epoch, entries}, or error RECOVERY_NEEDED, or error LOST
local meta_key, ledger_key, partition = KEYS[1], KEYS[2], ARGV[1]
local store_epoch = current_store_epoch(meta_key)
if not store_epoch then return recovery_needed() end
local _, is_short = ledger_head(meta_key, ledger_key, partition, store_epoch)
if is_short then return lost('a ledger ends before an offset that it had') end
return {store_epoch, redis.call('LRANGE', ledger_key, 0, -1)}
