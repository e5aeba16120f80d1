-- Hold a namespace still, so that it can be moved as a whole, or go on holding it. Nothing is decided meanwhile, since no
-- store epoch is in force; nobody else recovers it until the time is over, which frees it from a holder that died.
-- KEYS: 1 meta
-- ARGV: 1 store epoch that has to be in force, or '' to go on, 2 nonce, or the token to go on with, 3 ms to hold it from now
-- Replies: the token, which recovers it; false where the store epoch is another, or somebody else has begun to recover it
local meta_key, store_epoch, nonce_or_token, hold_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local token = nonce_or_token
if store_epoch ~= '' then
  if current_store_epoch(meta_key) ~= store_epoch then return false end
  token = this_process() .. ':' .. nonce_or_token
  redis.call('HDEL', meta_key, 'incarnation')
  redis.call('HSET', meta_key, 'settling', token)
elseif current(meta_key, 'settling') ~= token then
  return false
end
redis.call('HSET', meta_key, 'held_until', as_text(time_ms() + hold_ms))
return token
