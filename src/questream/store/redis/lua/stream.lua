-- Which name a topic's decisions have in the ledgers. The first stream to ask has the topic's own name; any other, that
-- of another Kafka cluster, of a topic made anew under the name or of another group, has one of its own.
-- KEYS: 1 streams, hash of name: identity
-- ARGV: 1 topic, 2 identity of the stream, 3 its name where the topic's is taken
-- Replies: {name, 1 where the name was given just now, else 0}
local streams_key, topic, identity, other_name = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if is_other('HEXISTS', streams_key, topic) then redis.call('DEL', streams_key) end
local first = redis.call('HGET', streams_key, topic)
local name = (not first or first == identity) and topic or other_name
local is_new = redis.call('HEXISTS', streams_key, name) == 0
if is_new then redis.call('HSET', streams_key, name, identity) end
return {name, is_new and 1 or 0}
