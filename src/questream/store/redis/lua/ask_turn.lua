-- Wait in line for a turn to move the log, with what the log says after a seq: so that a proposal is sent once.
-- KEYS: 1 meta, 2 log
-- ARGV: 1 store epoch, 2 seq, 3 token of the worker, 4 how long a turn lasts in ms
-- Replies: {seq of the namespace, entries after ARGV.seq or false where they were trimmed, whose turn it is: 'own' or
--           'other', also where too many wait}, or error RECOVERY_NEEDED or LOST
local meta_key, log_key, store_epoch, since, token = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[3]
if current_store_epoch(meta_key) ~= store_epoch then return recovery_needed() end
local meta = redis.call('HMGET', meta_key, 'seq', 'next', 'mean_questions')
local damaged = log_damage(meta, log_key)
if damaged then return lost(damaged) end
local seq = tonumber(meta[1])
if seq < since then return lost('the log has fewer changes than it had') end
local turns = open_turns(meta_key, token, time_ms())
return {seq, changes_after(log_key, since, seq), turns.ask(tonumber(ARGV[4]))}
