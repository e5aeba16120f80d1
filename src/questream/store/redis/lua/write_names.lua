-- Write names that a language model made for clusters, or take them away.
-- KEYS: 1 meta, 2 names
-- ARGV: 1 store epoch and 2 number of changes that have to be in force, '' for any,
--       then for each cluster its id and its name (store/names_text.py), '' to take it away
-- Replies: 1, 0 where something has changed since, or error RECOVERY_NEEDED
local meta_key, names_key, store_epoch = KEYS[1], KEYS[2], ARGV[1]
if current_store_epoch(meta_key) ~= store_epoch then return recovery_needed() end
if is_other('HGET', names_key, 'changes') then redis.call('DEL', names_key) end
local changes = redis.call('HGET', names_key, 'changes')
changes = is_number(changes) and tonumber(changes) or 0
-- Texts of which a name was made may have been erased meanwhile (operate.lua).
if ARGV[2] ~= '' and tonumber(ARGV[2]) ~= changes then return 0 end
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', names_key, ARGV[i])
  else
    redis.call('HSET', names_key, ARGV[i], ARGV[i + 1])
  end
end
-- A time, so that a key that was lost and began anew has not the number that somebody has seen.
local version = math.max(changes + 1, time_ms())
redis.call('HSET', names_key, 'changes', as_text(version))
return 1
