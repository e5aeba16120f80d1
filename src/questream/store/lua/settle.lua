-- The namespace has been compared with the cluster topic, and what it had lost is put back: decisions may go on.
-- All mirrors are void by that: the log begins anew.
-- KEYS: 1 meta, 2 log, 3 outbox, then P ledgers
-- ARGV: 1 JSON {token, nonce, whole: false or {model, revision, similarity, linkage, dimension, threshold, next, questions,
--               seq, generation}, heads: [[offset up to which all is decided, as it stands in the ledger's entry] * P]}, 2 mean sum
-- Replies: 0 if somebody else has settled it meanwhile, or its memory is another by now, else 1
local settling = cjson.decode(ARGV[1])
if standing_incarnation(KEYS[1]) or current(KEYS[1], 'settling') ~= settling.token then return 0 end
local meta = redis.call('HMGET', KEYS[1], 'seq', 'next', 'mean_questions', 'generation')
local whole = settling.whole
if whole then
  local function number(value) return string.format('%.0f', value) end
  local later = whole.generation - tonumber(meta[4] or 0)
  redis.call('HSET', KEYS[1], 'model', whole.model, 'revision', whole.revision, 'dimension', number(whole.dimension),
    'similarity', whole.similarity, 'linkage', whole.linkage, 'threshold', whole.threshold,
    'next', number(math.max(tonumber(meta[2] or 1), whole.next)), 'seq', number(math.max(tonumber(meta[1] or 0), whole.seq)),
    'generation', number(whole.generation))
  -- The mean of another model has nothing to do with this one's.
  if later > 0 or not meta[3] or tonumber(meta[3]) < whole.questions then
    redis.call('HSET', KEYS[1], 'mean_questions', number(whole.questions), 'mean_sum', ARGV[2])
  end
  -- Its next number may be later than was told.
  local now = redis.call('TIME')
  redis.call('ZADD', KEYS[3], now[1] * 1000 + math.floor(now[2] / 1000), '0')
end
redis.call('DEL', KEYS[2])
redis.call('HINCRBY', KEYS[1], 'seq', 1)
for p, head in ipairs(settling.heads) do
  local newest = redis.call('LINDEX', KEYS[3 + p], -1)
  if not newest or tonumber(string.match(newest, '^%d+ (%d+) ')) < head[1] then
    redis.call('RPUSH', KEYS[3 + p], head[2])
  end
end
redis.call('HDEL', KEYS[1], 'settling', 'held_until')
redis.call('HSET', KEYS[1], 'incarnation', this_process() .. ':' .. settling.nonce)
return 1
