-- Begin to compare the namespace with the cluster topic: what is put back and settled later holds only if the memory
-- that was compared is still there.
-- KEYS: 1 meta
-- ARGV: 1 nonce
-- Replies: the token of this memory, the same for all who settle it
local token = current(KEYS[1], 'settling')
if not token then
  token = this_process() .. ':' .. ARGV[1]
  redis.call('HSET', KEYS[1], 'settling', token)
end
return token
