-- Hold a namespace still, so that it can be moved as a whole, or go on holding it. Nothing is decided meanwhile, since no
-- store epoch stands; nobody else recovers it until the time is over, which frees it from a holder that died.
-- KEYS: 1 meta
-- ARGV: 1 store epoch that has to stand, or '' to go on, 2 nonce, or the token to go on with, 3 ms to hold it from now
-- Replies: the token, which recovers it; false where another store epoch stands, or somebody else has begun to recover it
local token = ARGV[2]
if ARGV[1] ~= '' then
  if current_store_epoch(KEYS[1]) ~= ARGV[1] then return false end
  token = this_process() .. ':' .. ARGV[2]
  redis.call('HDEL', KEYS[1], 'incarnation')
  redis.call('HSET', KEYS[1], 'settling', token)
elseif current(KEYS[1], 'settling') ~= token then
  return false
end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'held_until', string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[3]))
return token
