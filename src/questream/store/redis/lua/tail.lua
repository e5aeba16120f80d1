-- What the log says after a seq.
-- KEYS: 1 meta, 2 log
-- ARGV: 1 store epoch, 2 seq
-- Replies: {seq of the namespace, entries after ARGV.seq or false where they were trimmed}, or error RECOVERY_NEEDED or LOST
if current_store_epoch(KEYS[1]) ~= ARGV[1] then return recovery_needed() end
local meta = redis.call('HMGET', KEYS[1], 'seq', 'next', 'mean_questions')
local damaged = log_damage(meta, KEYS[2])
if damaged then return lost(damaged) end
local seq = meta[1]
if tonumber(seq) < tonumber(ARGV[2]) then return lost('the log has fewer changes than it had') end
if seq == ARGV[2] then return {tonumber(seq), {}} end
local first = string.format('%.0f', tonumber(ARGV[2]) + 1)
local entries = redis.call('XRANGE', KEYS[2], first .. '-0', '+')
if not entries[1] or entries[1][1] ~= first .. '-1' then return {tonumber(seq), false} end
return {tonumber(seq), entries}
