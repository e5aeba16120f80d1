-- Give the namespace a home, unless it has one. By a script: HSETNX is no command that workers need a right to.
-- KEYS: 1 meta
-- ARGV: 1 home
-- Replies: 1 if it was taken, else 0
if redis.call('HEXISTS', KEYS[1], 'home') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'home', ARGV[1])
return 1
