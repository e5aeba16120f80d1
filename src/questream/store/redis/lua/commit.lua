-- Commit one micro-batch of one namespace: all of it, or nothing. No vector arithmetic happens here.
-- KEYS: 1 meta, 2 log, 3 idle, 4 outbox, then P ledgers, then T clusters, then singletons
-- ARGV: 1 JSON {store epoch, seq, log_entries, mean: [expected, questions] or false,
--               turn: a token of a worker that loses too often and asks for a turn, or '', turn_ms: how long one lasts,
--               unmatched: whether a question is in no cluster,
--               partitions: [[topic/partition, first, last, prune_below, [[slot in touches, from 1, [offset]]],
--                             head that the ledger was last seen at] * P],
--               members_kept: of each kind,
--               touches: [[id, joins, expected members, members, seen_at, features or false where these stay,
--                          references to questions that joined or '': clustering/kept_members.py] * T]}
--       2 mean sum or '', then P ledger entry prefixes, then T pairs of (sum or '' if frozen, representative or '')
-- Replies: error RECOVERY_NEEDED              the mirror's store epoch is not the current one
--          error LOST                   the namespace is not what the mirror was loaded from, and no log says why
--          {'replayed', {entries} * P}   an offset is not above its ledger
--          {'stale', seq, tail, turn}    a cluster is to be opened and the log moved, or a joined one moved or is gone,
--                                        or a question found no cluster and the log moved,
--                                        or people have turned questions away or moved them,
--                                        or it is another's turn to move the log: `turn` is 'own', 'other' or ''
--          {'committed', seq before, tail, seq, {size, revision, label, route, created, seen, representative,
--                                           joins, absorbed, ruled, exemplars, kept} * T, {outbox count, ms}}
-- tail: entries of the log after ARGV.seq, or false where it was trimmed; {outbox count, ms}: as outbox_position.lua
local meta_key, log_key, idle_key, outbox_key, singletons_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[#KEYS]
local batch, mean_sum = cjson.decode(ARGV[1]), ARGV[2]
local partitions, touches = batch.partitions, batch.touches
local function ledger_key(p) return KEYS[4 + p] end
local function cluster_key(t) return KEYS[4 + #partitions + t] end
local function entry_prefix(p) return ARGV[2 + p] end
local function vector_sum(t) return ARGV[1 + #partitions + 2 * t] end
local function representative(t) return ARGV[2 + #partitions + 2 * t] end

if current_store_epoch(meta_key) ~= batch.store_epoch then return recovery_needed() end

local meta = redis.call('HMGET', meta_key, 'seq', 'next', 'mean_questions', 'live', 'live_seq', 'outdated_count')
local damaged = damage(meta, log_key, idle_key)
if damaged then return lost(damaged) end
local seq, next_id = tonumber(meta[1]), tonumber(meta[2])
if seq < batch.seq then return lost('the log has fewer changes than it had') end
require_zsets(outbox_key, singletons_key)

local replayed = false
for p, partition in ipairs(partitions) do
  local first, seen_head = partition[2], partition[6] or -1
  local head, is_short = ledger_head(meta_key, ledger_key(p), partition[1], batch.store_epoch)
  if is_short or head < seen_head then return lost('a ledger ends before an offset that it had') end
  replayed = replayed or first <= head
end
local now_ms = time_ms()
local turns = open_turns(meta_key, batch.turn or '', now_ms)
if replayed then
  turns.finish()
  local ledgers = {}
  for p = 1, #partitions do
    ledgers[p] = redis.call('LRANGE', ledger_key(p), 0, -1)
  end
  return {'replayed', ledgers}
end

-- A question without a cluster moves nothing, but holds only while nobody else does.
local moves_log = batch.mean or batch.unmatched
local stale = batch.mean and batch.mean[1] ~= tonumber(meta[3]) or is_unaware(meta_key, batch.seq, seq)
  or batch.unmatched and seq ~= batch.seq
for t, touch in ipairs(touches) do
  moves_log = moves_log or vector_sum(t) ~= ''
  if touch[3] == 0 then stale = stale or seq ~= batch.seq or touch[1] < next_id end
end
-- Nothing is read of clusters for a batch that came too late, and is refused in any case.
local stored = {}
if seq == batch.seq or not (stale or moves_log and turns.is_others()) then
  for t, touch in ipairs(touches) do
    local id, _, expected_members = unpack(touch)
    -- Once for each cluster, and written once below: of what Redis does for a question most are its calls.
    local known = redis.call('HMGET', cluster_key(t), unpack(TOUCHED))
    stored[t] = known
    if expected_members == 0 then
      if id >= next_id and (known[2] or known[3] or known[5] or known[6]) then
        return lost('the next number is that of a cluster')
      end
    else
      local members = known[1]
      if members and not is_whole(known) then return lost('a cluster is cut short') end
      stale = stale or not members or (vector_sum(t) ~= '' and tonumber(members) ~= expected_members)
    end
  end
end
-- Nothing was missed, and yet it is not what the mirror has: looking again would find the same.
if stale and seq == batch.seq then return lost('a cluster or the mean is not what the log made of it') end
local missed = changes_after(log_key, batch.seq, seq)
if stale or (moves_log and turns.is_others()) then
  return {'stale', seq, missed, turns.ask(batch.turn_ms)}
end
turns.finish()

local log = open_log(log_key, seq)
local cluster_rows, recorded = {}, {}

-- Which of the questions that a cluster counts may not be published: by partition, those not known to be committed.
local joined = {}
for t = 1, #touches do joined[t] = {} end
for _, partition in ipairs(partitions) do
  local name, _, _, prune_below, joins = unpack(partition)
  for _, join in ipairs(joins) do
    local slot, offsets = unpack(join)
    table.insert(joined[slot], {name, prune_below, offsets})
  end
end
local function in_flight(known, slot)
  -- Most often everything before is published; that form is written without a parser.
  if not known and #joined[slot] == 1 then
    local partition, _, offsets = unpack(joined[slot][1])
    return '{"' .. partition .. '":[' .. table.concat(offsets, ',') .. ']}'
  end
  local joins = known and cjson.decode(known) or {}
  for _, join in ipairs(joined[slot]) do
    local partition, published_below, offsets = unpack(join)
    local open = {}
    for _, offset in ipairs(joins[partition] or {}) do
      if offset >= published_below then open[#open + 1] = offset end
    end
    for _, offset in ipairs(offsets) do open[#open + 1] = offset end
    joins[partition] = open
  end
  return cjson.encode(joins)
end

for t, touch in ipairs(touches) do
  local number, joining, expected_members, members, seen_at, features, joined_members = unpack(touch)
  local key, id = cluster_key(t), as_text(number)
  local _, size, revision, created, last_seen, known_joins, label, route, shown, absorbed, ruled, exemplars, kept,
    represented = unpack(stored[t], 1, #TOUCHED)
  size, revision = tonumber(size or 0) + joining, tonumber(revision or 0) + 1
  local seen = as_text(math.max(tonumber(last_seen or 0), seen_at))
  local joins = in_flight(known_joins, t)
  local fields = {'size', as_text(size), 'revision', as_text(revision), 'seen', seen, 'joins', joins}
  local function set(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if expected_members == 0 then
    created = as_text(seen_at)
    set('created', created)
    if representative(t) ~= '' then
      shown = representative(t)
      set('representative', shown)
    end
    next_id = math.max(next_id, number + 1)
  end
  if vector_sum(t) ~= '' then
    set('members', as_text(members))
    set('sum', vector_sum(t))
    if features then set('features', features) end
    log.append('moved', id, 'members', as_text(members), 'sum', vector_sum(t), unpack(looked_at(features)))
  end
  if joined_members ~= '' then
    kept = united_members(kept or '', joined_members, batch.members_kept)
    set('kept', kept)
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('ZADD', idle_key, seen, id)
  if size == 1 then
    redis.call('ZADD', singletons_key, seen, id)
  elseif size - joining == 1 then
    redis.call('ZREM', singletons_key, id)
  end
  redis.call('ZADD', outbox_key, now_ms, id)
  cluster_rows[t] = {size, revision, label, route, created, seen, shown, joins, absorbed, ruled, exemplars, kept,
    represented}
  recorded[t] = {id, {size - joining, label or '', route or ''}}
end
if batch.mean then
  local questions = as_text(batch.mean[2])
  redis.call('HSET', meta_key, 'mean_questions', questions, 'mean_sum', mean_sum)
  log.append('mean', questions, 'sum', mean_sum)
end
redis.call('HSET', meta_key, 'next', as_text(next_id))
if batch.mean or next_id > tonumber(meta[2]) then
  redis.call('ZADD', outbox_key, now_ms, '0')
end
close_log(log, meta_key, idle_key, batch.log_entries)

for p, partition in ipairs(partitions) do
  local key, clusters, prune_below = ledger_key(p), {}, partition[4]
  for _, join in ipairs(partition[5]) do
    local id, row = unpack(recorded[join[1]])
    clusters[id] = row
  end
  redis.call('RPUSH', key, entry_prefix(p) .. cjson.encode(clusters) .. '}')
  while redis.call('LLEN', key) > 1 do
    local oldest = redis.call('LINDEX', key, 0)
    if tonumber(string.match(oldest, '^%d+ (%d+) ')) >= prune_below then break end
    redis.call('LPOP', key)
  end
  record_head(meta_key, partition[1], batch.store_epoch, partition[3])
end
return {'committed', seq, missed, log.seq, cluster_rows, {tonumber(meta[6]) or 0, now_ms}}
