-- The namespace has been compared with the cluster topic, and what it had lost is restored: decisions may go on.
-- All mirrors are void by that: the log begins anew.
-- KEYS: 1 meta, 2 log, 3 outbox, then P ledgers, then idle
-- ARGV: 1 JSON {token, nonce, whole: false or {model, revision, similarity, linkage, dimension, threshold, next, questions,
--               seq, generation, rules, rules_operation: their text and the operation that set them}, heads: [[offset up to which all is decided, or -1, as it stands in the ledger's entry, whether the ledger cannot be read] * P],
--               floor: what the next number is at least, unpublished: [ids whose present states the topic does not know]}, 2 mean sum
-- Replies: 0 if somebody else has recovered it meanwhile, or its memory is another by now, else 1
local meta_key, log_key, outbox_key, idle_key = KEYS[1], KEYS[2], KEYS[3], KEYS[#KEYS]
local request, mean_sum = cjson.decode(ARGV[1]), ARGV[2]
local function ledger_key(p) return KEYS[3 + p] end

if current_store_epoch(meta_key) or current(meta_key, 'settling') ~= request.token then return 0 end
for _, key in ipairs({outbox_key, idle_key}) do
  if is_other('ZCARD', key) then redis.call('DEL', key) end
end
for p = 1, #request.heads do
  if request.heads[p][3] then redis.call('DEL', ledger_key(p)) end
end
local meta = redis.call('HMGET', meta_key, 'seq', 'next', 'mean_questions', 'generation')
local whole = request.whole
local now_ms = time_ms()
-- An id that any key still names is never given again.
meta[2] = math.max(tonumber(meta[2] or 1) or 1, request.floor)
redis.call('HSET', meta_key, 'next', as_text(meta[2]), 'seq', as_text(tonumber(meta[1] or 0) or 0))
if not whole and #(redis.call('HGET', meta_key, 'mean_sum') or '') == 0 then redis.call('HSET', meta_key, 'mean_questions', 0) end
if whole then
  local later = whole.generation - (tonumber(meta[4] or 0) or 0)
  redis.call('HSET', meta_key, 'model', whole.model, 'revision', whole.revision, 'dimension', as_text(whole.dimension),
    'similarity', whole.similarity, 'linkage', whole.linkage, 'threshold', whole.threshold,
    'next', as_text(math.max(meta[2], whole.next)), 'seq', as_text(math.max(tonumber(meta[1] or 0) or 0, whole.seq)),
    'generation', as_text(whole.generation))
  -- The mean of another model has nothing to do with this one's.
  local known_bytes = #(redis.call('HGET', meta_key, 'mean_sum') or '')
  local cut_short = known_bytes ~= 0 and known_bytes ~= #mean_sum or known_bytes == 0 and whole.questions > 0
  if later > 0 or cut_short or not tonumber(meta[3] or nil) or tonumber(meta[3]) < whole.questions then
    redis.call('HSET', meta_key, 'mean_questions', as_text(whole.questions), 'mean_sum', mean_sum)
  end
  if whole.rules_operation > rules_operation(redis.call('HGET', meta_key, 'rules')) then
    redis.call('HSET', meta_key, 'rules', whole.rules)
  end
  raise_operation_count(meta_key, whole.rules_operation)
  -- Its next number may be later than the published one.
  redis.call('ZADD', outbox_key, now_ms, '0')
end
for _, id in ipairs(request.unpublished) do
  redis.call('ZADD', outbox_key, 'NX', now_ms, as_text(id))
end
redis.call('DEL', log_key)
redis.call('HINCRBY', meta_key, 'seq', 1)
for p, head in ipairs(request.heads) do
  local newest = redis.call('LINDEX', ledger_key(p), -1)
  if head[1] >= 0 and (not newest or tonumber(string.match(newest, '^%d+ (%d+) ')) < head[1]) then
    redis.call('RPUSH', ledger_key(p), head[2])
  end
end
count_live(meta_key, idle_key, tonumber(redis.call('HGET', meta_key, 'seq')))
redis.call('HDEL', meta_key, 'settling', 'settler', 'held_until', 'reserved')
local store_epoch = this_process() .. ':' .. request.nonce
redis.call('HSET', meta_key, 'incarnation', store_epoch, 'levels_epoch', store_epoch)
if redis.call('HGET', meta_key, 'operation_epoch') == request.token then
  redis.call('HSET', meta_key, 'operation_epoch', store_epoch)
end
return 1
