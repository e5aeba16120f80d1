-- Put back levels that the cluster topic has, unless the store has later ones.
-- KEYS: 1 meta, 2 levels
-- ARGV: 1 token of the recovery, 2 version, 3 clusters opened by then, 4 the levels, 5 what people named, '' for nothing:
--       store/levels_text.py, 6 version that the topic has
-- Replies: 1, or 0 if later ones are there or the recovery is another's
local meta_key, levels_key, token, version, opened, levels, named, published = KEYS[1], KEYS[2], unpack(ARGV)
if current_store_epoch(meta_key) or current(meta_key, 'settling') ~= token then return 0 end
local stored_version = redis.call('HGET', levels_key, 'version')
if is_number(stored_version) and tonumber(stored_version) > tonumber(version) then return 0 end
redis.call('HSET', levels_key, 'version', version, 'published', published, 'opened', opened, 'levels', levels)
put_names(levels_key, named)
-- Another release may have found them.
if named_by(named) > 0 then redis.call('HSET', levels_key, 'heeded', '0') end
raise_operation_count(meta_key, named_by(named))
return 1
