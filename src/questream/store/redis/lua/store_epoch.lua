-- The current store epoch of a namespace. A script of its own: readers have no right to the calls of other scripts.
-- KEYS: 1 meta
-- Replies: the store epoch, or false where the namespace has to be recovered first
local meta_key = KEYS[1]
return current_store_epoch(meta_key)
