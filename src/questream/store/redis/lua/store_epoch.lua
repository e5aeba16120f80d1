-- Which store epoch a namespace stands in. Of its own: who only reads has no right to what other scripts call.
-- KEYS: 1 meta
-- Replies: the store epoch, or false where the namespace has to be recovered first
local meta_key = KEYS[1]
return current_store_epoch(meta_key)
