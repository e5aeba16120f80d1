-- Where the outbox of a namespace stands: before or after that is what confirm.lua tells entries apart by.
-- KEYS: 1 meta
-- Replies: "<count> <ms> <store epoch>": how often a cluster was found outdated in the topic (publishing.lua), the time
--          since the epoch, and the store epoch that stands, empty where there is none
local now = redis.call('TIME')
local count = redis.call('HGET', KEYS[1], 'outdated_count') or '0'
local now_ms = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
return count .. ' ' .. now_ms .. ' ' .. (current_store_epoch(KEYS[1]) or '')
