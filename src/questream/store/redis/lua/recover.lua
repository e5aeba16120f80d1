-- The namespace has been compared with the cluster topic, and what it had lost is put back: decisions may go on.
-- All mirrors are void by that: the log begins anew.
-- KEYS: 1 meta, 2 log, 3 outbox, then P ledgers, then idle
-- ARGV: 1 JSON {token, nonce, whole: false or {model, revision, similarity, linkage, dimension, threshold, next, questions,
--               seq, generation}, heads: [[offset up to which all is decided, or -1, as it stands in the ledger's entry] * P],
--               floor: what the next number is at least, untold: [ids that the topic does not know as they stand]}, 2 mean sum
-- Replies: 0 if somebody else has recovered it meanwhile, or its memory is another by now, else 1
local request = cjson.decode(ARGV[1])

local function is_entry(text)
  local body = string.match(text, '^%d+ %d+ ({.*})$')
  local is_json, entry = pcall(cjson.decode, body or '')
  if not is_json or type(entry.rows) ~= 'table' or type(entry.clusters) ~= 'table' then return false end
  for _, row in pairs(entry.rows) do
    if type(row) ~= 'table' or #row < 8 or not entry.clusters[string.format('%.0f', tonumber(row[2]) or 0)] then return false end
  end
  return true
end

if current_store_epoch(KEYS[1]) or current(KEYS[1], 'settling') ~= request.token then return 0 end
for i = 3, #KEYS do
  local command = (i == 3 or i == #KEYS) and 'ZCARD' or 'LLEN'
  if is_other(command, KEYS[i]) then redis.call('DEL', KEYS[i]) end
end
local meta = redis.call('HMGET', KEYS[1], 'seq', 'next', 'mean_questions', 'generation')
local whole = request.whole
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local function number(value) return string.format('%.0f', value) end
-- An id that any key still names is never given again.
meta[2] = math.max(tonumber(meta[2] or 1) or 1, request.floor)
redis.call('HSET', KEYS[1], 'next', number(meta[2]), 'seq', number(tonumber(meta[1] or 0) or 0))
if not whole and #(redis.call('HGET', KEYS[1], 'mean_sum') or '') == 0 then redis.call('HSET', KEYS[1], 'mean_questions', 0) end
if whole then
  local later = whole.generation - (tonumber(meta[4] or 0) or 0)
  redis.call('HSET', KEYS[1], 'model', whole.model, 'revision', whole.revision, 'dimension', number(whole.dimension),
    'similarity', whole.similarity, 'linkage', whole.linkage, 'threshold', whole.threshold,
    'next', number(math.max(meta[2], whole.next)), 'seq', number(math.max(tonumber(meta[1] or 0) or 0, whole.seq)),
    'generation', number(whole.generation))
  -- The mean of another model has nothing to do with this one's.
  local sum_bytes = #(redis.call('HGET', KEYS[1], 'mean_sum') or '')
  local cut_short = sum_bytes ~= 0 and sum_bytes ~= #ARGV[2] or sum_bytes == 0 and whole.questions > 0
  if later > 0 or cut_short or not tonumber(meta[3] or nil) or tonumber(meta[3]) < whole.questions then
    redis.call('HSET', KEYS[1], 'mean_questions', number(whole.questions), 'mean_sum', ARGV[2])
  end
  -- Its next number may be later than was told.
  redis.call('ZADD', KEYS[3], now_ms, '0')
end
for _, id in ipairs(request.untold) do
  redis.call('ZADD', KEYS[3], 'NX', now_ms, number(id))
end
redis.call('DEL', KEYS[2])
redis.call('HINCRBY', KEYS[1], 'seq', 1)
for p, head in ipairs(request.heads) do
  for _, entry in ipairs(redis.call('LRANGE', KEYS[3 + p], 0, -1)) do
    if not is_entry(entry) then redis.call('DEL', KEYS[3 + p]) end
  end
  local newest = redis.call('LINDEX', KEYS[3 + p], -1)
  if head[1] >= 0 and (not newest or tonumber(string.match(newest, '^%d+ (%d+) ')) < head[1]) then
    redis.call('RPUSH', KEYS[3 + p], head[2])
  end
end
count_live(KEYS[1], KEYS[#KEYS], tonumber(redis.call('HGET', KEYS[1], 'seq')))
redis.call('HDEL', KEYS[1], 'settling', 'settler', 'held_until')
redis.call('HSET', KEYS[1], 'incarnation', this_process() .. ':' .. request.nonce)
return 1
