-- What the log says after a seq.
-- KEYS: 1 meta, 2 log
-- ARGV: 1 store epoch, 2 seq
-- Replies: {seq of the namespace, entries after ARGV.seq or false where they were trimmed}, or error RECOVERY_NEEDED or LOST
local meta_key, log_key, store_epoch, since = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
if current_store_epoch(meta_key) ~= store_epoch then return recovery_needed() end
local meta = redis.call('HMGET', meta_key, 'seq', 'next', 'mean_questions')
local damaged = log_damage(meta, log_key)
if damaged then return lost(damaged) end
local seq = tonumber(meta[1])
if seq < since then return lost('the log has fewer changes than it had') end
return {seq, changes_after(log_key, since, seq)}
