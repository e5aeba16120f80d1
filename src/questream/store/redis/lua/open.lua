-- Create a namespace, or answer what it was built with. Similarity, linkage and threshold follow the last to open it;
-- prepared_by is written once, and not into a namespace of a release that did not write it.
-- KEYS: 1 meta
-- ARGV: 1 model, 2 revision, 3 dimension, 4 similarity, 5 linkage, 6 threshold, 7 layout that the caller reads,
--       8 input topic, 9 cluster topic of the caller's stream, either '' where it is not to be compared,
--       10 what prepares its texts
-- Replies: {model, revision, dimension, layout, input topic, cluster topic} as the namespace has them; nothing is changed
--          in one of a later layout. The topics are those of the first stream to open it, or '' where none has yet.
if is_other('HEXISTS', KEYS[1], 'model') then redis.call('DEL', KEYS[1]) end
-- A namespace of before there were layouts has the first.
local layout = redis.call('HGET', KEYS[1], 'layout')
if not is_number(layout) then layout = '1' end
if tonumber(layout) > tonumber(ARGV[7]) then return {'', '', '', layout, '', ''} end
if redis.call('HEXISTS', KEYS[1], 'model') == 0 and redis.call('HEXISTS', KEYS[1], 'prepared_by') == 0 then
  redis.call('HSET', KEYS[1], 'prepared_by', ARGV[10])
end
local first = {'model', ARGV[1], 'revision', ARGV[2], 'dimension', ARGV[3], 'seq', 0, 'next', 1, 'mean_questions', 0}
for i = 1, #first, 2 do
  local text = redis.call('HGET', KEYS[1], first[i])
  if not text or i > 4 and not is_number(text) then
    -- New, or it has lost a part: either is compared with the cluster topic before anything is decided.
    redis.call('HDEL', KEYS[1], 'incarnation')
    redis.call('HSET', KEYS[1], first[i], first[i + 1])
  end
end
local built = redis.call('HMGET', KEYS[1], 'model', 'revision', 'dimension')
if built[1] == ARGV[1] and built[2] == ARGV[2] and built[3] == ARGV[3] then
  local topics = redis.call('HMGET', KEYS[1], 'input_topic', 'cluster_topic')
  local same = true
  for i = 1, 2 do
    same = same and (ARGV[7 + i] == '' or not topics[i] or topics[i] == ARGV[7 + i])
  end
  if same then
    redis.call('HSET', KEYS[1], 'similarity', ARGV[4], 'linkage', ARGV[5], 'threshold', ARGV[6], 'layout', layout)
    if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'input_topic', ARGV[8]) end
    if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'cluster_topic', ARGV[9]) end
  end
end
local topics = redis.call('HMGET', KEYS[1], 'input_topic', 'cluster_topic')
return {built[1], built[2], built[3], layout, topics[1] or '', topics[2] or ''}
