-- The outbox position of a namespace: confirm.lua takes out entries from before it alone. It is part of the replies of
-- commit.lua and merge.lua too.
-- KEYS: 1 meta
-- Replies: {current store epoch or '', how often a cluster was found outdated in the topic (verify_before_commit.lua),
--           ms since the epoch}
local meta_key = KEYS[1]
return {current_store_epoch(meta_key) or '', outdated_count(meta_key), time_ms()}
