-- Where the outbox of a namespace stands: before or after that is what confirm.lua tells entries apart by. The replies of
-- commit.lua and merge.lua tell it too.
-- KEYS: 1 meta
-- Replies: {store epoch that stands or '', how often a cluster was found outdated in the topic (verify_before_commit.lua),
--           ms since the epoch}
local now = redis.call('TIME')
local count = tonumber(redis.call('HGET', KEYS[1], 'outdated_count')) or 0
return {current_store_epoch(KEYS[1]) or '', count, now[1] * 1000 + math.floor(now[2] / 1000)}
