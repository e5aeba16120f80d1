-- Which name a topic's decisions have in the ledgers. The first stream to ask has the topic's own name; any other, that
-- of another Kafka cluster, of a topic made anew under the name or of another group, has one of its own.
-- KEYS: 1 streams, hash of name: identity
-- ARGV: 1 topic, 2 identity of the stream, 3 its name where the topic's is taken
-- Replies: {name, 1 where the name was given just now, else 0}
if is_other('HEXISTS', KEYS[1], ARGV[1]) then redis.call('DEL', KEYS[1]) end
local first = redis.call('HGET', KEYS[1], ARGV[1])
local name = (not first or first == ARGV[2]) and ARGV[1] or ARGV[3]
local is_new = redis.call('HEXISTS', KEYS[1], name) == 0
if is_new then redis.call('HSET', KEYS[1], name, ARGV[2]) end
return {name, is_new and 1 or 0}
