-- Put a namespace's levels in the place of those that they were computed from. Versions are times, so that one that was
-- lost is never given again.
-- KEYS: 1 meta, 2 levels
-- ARGV: 1 store epoch and 2 version that have to be in force, 0 for none, 3 clusters opened by then,
--       4 the levels, 5 what people named, '' for nothing: store/levels_text.py, 6 the rules of the namespace that they
--       were found by, '' for none: store/rules_text.py
-- `heeded` is the version that was written last by a release which heeds what people decide of levels; where they decided
-- nothing there is none.
-- Replies: 1, or 0 where another version is current; or error RECOVERY_NEEDED or LOST
local meta_key, levels_key, store_epoch, former, opened, levels, named, ruled = KEYS[1], KEYS[2], unpack(ARGV)
if current_store_epoch(meta_key) ~= store_epoch then return recovery_needed() end
local damaged = levels_damage(meta_key, store_epoch)
if damaged then return lost(damaged) end
local stored_version = redis.call('HGET', levels_key, 'version')
if (is_number(stored_version) and stored_version or '0') ~= former then return 0 end
local version = math.max(tonumber(former) + 1, time_ms())
redis.call('HSET', levels_key, 'version', as_text(version), 'opened', opened, 'levels', levels, 'ruled', ruled)
if redis.call('HEXISTS', levels_key, 'heeded') == 1 then redis.call('HSET', levels_key, 'heeded', as_text(version)) end
put_names(levels_key, named)
return 1
