-- Create a namespace, or answer what it was built with. Similarity, linkage and threshold follow the last to open it.
-- KEYS: 1 meta
-- ARGV: 1 model, 2 revision, 3 dimension, 4 similarity, 5 linkage, 6 threshold
-- Replies: {model, revision, dimension} as the namespace has them
if is_other('HEXISTS', KEYS[1], 'model') then redis.call('DEL', KEYS[1]) end
local first = {'model', ARGV[1], 'revision', ARGV[2], 'dimension', ARGV[3], 'seq', 0, 'next', 1, 'mean_questions', 0}
for i = 1, #first, 2 do
  if redis.call('HEXISTS', KEYS[1], first[i]) == 0 then
    -- New, or it has lost a part: either is compared with the cluster topic before anything is decided.
    redis.call('HDEL', KEYS[1], 'incarnation')
    redis.call('HSET', KEYS[1], first[i], first[i + 1])
  end
end
local built = redis.call('HMGET', KEYS[1], 'model', 'revision', 'dimension')
if built[1] == ARGV[1] and built[2] == ARGV[2] and built[3] == ARGV[3] then
  redis.call('HSET', KEYS[1], 'similarity', ARGV[4], 'linkage', ARGV[5], 'threshold', ARGV[6])
end
return built
