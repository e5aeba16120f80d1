-- The recorded decisions of a partition, and the incarnation that they stand in.
-- KEYS: 1 meta, 2 ledger
-- Replies: {incarnation, entries}, or error UNSETTLED
local incarnation = standing_incarnation(KEYS[1])
if not incarnation then return unsettled() end
return {incarnation, redis.call('LRANGE', KEYS[2], 0, -1)}
