-- The incarnation that the namespace stands in.
-- KEYS: 1 meta
-- Replies: the incarnation, or false where the namespace has to be settled first
return standing_incarnation(KEYS[1])
