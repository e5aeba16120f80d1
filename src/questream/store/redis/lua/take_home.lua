-- Give the namespace a home, unless it has one. By a script: HSETNX is no command that workers need a right to.
-- KEYS: 1 meta
-- ARGV: 1 home
-- Replies: 1 if it was taken, else 0
local meta_key, home = KEYS[1], ARGV[1]
if redis.call('HEXISTS', meta_key, 'home') == 1 then return 0 end
redis.call('HSET', meta_key, 'home', home)
return 1
