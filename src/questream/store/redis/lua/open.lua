-- Create a namespace, or answer what it was built with. Similarity, linkage and threshold follow the last to open it;
-- prepared_by is written once, and not into a namespace of a release that did not write it.
-- KEYS: 1 meta
-- ARGV: 1 model, 2 revision, 3 dimension, 4 similarity, 5 linkage, 6 threshold, 7 layout that the caller reads,
--       8 input topic, 9 cluster topic of the caller's stream, either '' where it is not to be compared,
--       10 what prepares its texts
-- Replies: {model, revision, dimension, layout, input topic, cluster topic} as the namespace has them; nothing is changed
--          in one of a later layout. The topics are those of the first stream to open it, or '' where none has yet.
local meta_key, reads_layout = KEYS[1], tonumber(ARGV[7])
local model, revision, dimension, similarity, linkage, threshold = unpack(ARGV, 1, 6)
local input_topic, cluster_topic, prepared_by = ARGV[8], ARGV[9], ARGV[10]
if is_other('HEXISTS', meta_key, 'model') then redis.call('DEL', meta_key) end
-- A namespace of before there were layouts has the first.
local layout = redis.call('HGET', meta_key, 'layout')
if not is_number(layout) then layout = '1' end
if tonumber(layout) > reads_layout then return {'', '', '', layout, '', ''} end
if redis.call('HEXISTS', meta_key, 'model') == 0 and redis.call('HEXISTS', meta_key, 'prepared_by') == 0 then
  redis.call('HSET', meta_key, 'prepared_by', prepared_by)
end
local first = {'model', model, 'revision', revision, 'dimension', dimension, 'seq', 0, 'next', 1, 'mean_questions', 0}
for i = 1, #first, 2 do
  local text = redis.call('HGET', meta_key, first[i])
  if not text or i > 4 and not is_number(text) then
    -- New, or it has lost a part: either is compared with the cluster topic before anything is decided.
    redis.call('HDEL', meta_key, 'incarnation')
    redis.call('HSET', meta_key, first[i], first[i + 1])
  end
end
local built = redis.call('HMGET', meta_key, 'model', 'revision', 'dimension')
if built[1] == model and built[2] == revision and built[3] == dimension then
  local topics = redis.call('HMGET', meta_key, 'input_topic', 'cluster_topic')
  local same = true
  for i, topic in ipairs({input_topic, cluster_topic}) do
    same = same and (topic == '' or not topics[i] or topics[i] == topic)
  end
  if same then
    redis.call('HSET', meta_key, 'similarity', similarity, 'linkage', linkage, 'threshold', threshold, 'layout', layout)
    if input_topic ~= '' then redis.call('HSET', meta_key, 'input_topic', input_topic) end
    if cluster_topic ~= '' then redis.call('HSET', meta_key, 'cluster_topic', cluster_topic) end
  end
end
local topics = redis.call('HMGET', meta_key, 'input_topic', 'cluster_topic')
return {built[1], built[2], built[3], layout, topics[1] or '', topics[2] or ''}
