-- The levels of this version are in the cluster topic.
-- KEYS: 1 levels
-- ARGV: 1 version
-- Replies: 1, or 0 where another version is current
local levels_key, version = KEYS[1], ARGV[1]
if redis.call('HGET', levels_key, 'version') ~= version then return 0 end
redis.call('HSET', levels_key, 'published', version)
return 1
