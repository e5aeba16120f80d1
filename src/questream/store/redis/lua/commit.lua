-- Commit one micro-batch of one namespace: all of it, or nothing. No vector arithmetic happens here.
-- KEYS: 1 meta, 2 log, 3 idle, 4 outbox, then P ledgers, then T clusters, then singletons
-- ARGV: 1 JSON {store epoch, seq, log_entries, mean: [expected, questions] or false,
--               turn: a token of a worker that lost too often and asks for a turn, or '', turn_ms: how long one lasts,
--               partitions: [[topic/partition, first, last, prune_below, [[slot in touches, from 1, [offset]]],
--                             head that the ledger was last seen at] * P],
--               touches: [[id, joins, expected members, members, seen_at] * T]}
--       2 mean sum or '', then P ledger entry prefixes, then T pairs of (sum or '' if frozen, representative or '')
-- Replies: error RECOVERY_NEEDED              the mirror's store epoch is not the one that stands
--          error LOST                   the namespace is not what the mirror was loaded from, and no log tells why
--          {'replayed', {entries} * P}   an offset is not above its ledger
--          {'stale', seq, tail, turn}    a cluster is to be opened and the log moved, or a joined one moved or is gone,
--                                        or it is another's turn to move the log: `turn` is 'own', 'other' or ''
--          {'committed', seq before, tail, seq, {size, revision, label, route, created, seen, representative,
--                                           joins, absorbed} * T, {outbox count, ms}}
-- tail: entries of the log after ARGV.seq, or false where it was trimmed; {outbox count, ms}: as outbox_position.lua
local batch = cjson.decode(ARGV[1])
local partitions, touches = batch.partitions, batch.touches
local clusters_at = 4 + #partitions
local vectors_at = 2 + #partitions

if current_store_epoch(KEYS[1]) ~= batch.store_epoch then return recovery_needed() end

local meta = redis.call('HMGET', KEYS[1], 'seq', 'next', 'mean_questions', 'live', 'live_seq', 'outdated_count')
local damaged = damage(meta, KEYS[2], KEYS[3])
if damaged then return lost(damaged) end
local seq, next_id = tonumber(meta[1]), tonumber(meta[2])
if seq < batch.seq then return lost('the log has fewer changes than it had') end
-- Of the type that is written below, or this raises an error before anything is written.
redis.call('ZCARD', KEYS[4])
redis.call('ZCARD', KEYS[#KEYS])

local replayed = false
for p, partition in ipairs(partitions) do
  local newest = redis.call('LINDEX', KEYS[4 + p], -1)
  local head = newest and tonumber(string.match(newest, '^%d+ (%d+) ')) or -1
  if head < (partition[6] or -1) then return lost('a ledger ends before an offset that it had') end
  replayed = replayed or partition[2] <= head
end
if replayed then
  local ledgers = {}
  for p = 1, #partitions do
    ledgers[p] = redis.call('LRANGE', KEYS[4 + p], 0, -1)
  end
  return {'replayed', ledgers}
end

local function tail()
  if seq == batch.seq then return {} end
  local first = string.format('%.0f', batch.seq + 1)
  local entries = redis.call('XRANGE', KEYS[2], first .. '-0', '+')
  if not entries[1] or entries[1][1] ~= first .. '-1' then return false end
  return entries
end

local stale = batch.mean and batch.mean[1] ~= tonumber(meta[3])
for t, touch in ipairs(touches) do
  if touch[3] == 0 then
    stale = stale or seq ~= batch.seq or touch[1] < next_id
    local known = redis.call('HMGET', KEYS[clusters_at + t], 'revision', 'size', 'seen', 'joins')
    if touch[1] >= next_id and (known[1] or known[2] or known[3] or known[4]) then
      return lost('the next number is that of a cluster')
    end
  else
    local known = redis.call('HMGET', KEYS[clusters_at + t], 'members', 'size', 'revision', 'created', 'seen', 'joins')
    local members = known[1]
    if members and not is_whole(known) then return lost('a cluster is cut short') end
    stale = stale or not members or (ARGV[vectors_at + 2 * t - 1] ~= '' and tonumber(members) ~= touch[3])
  end
end
-- Nothing was missed, and yet it is not what the mirror has: looking again would find the same.
if stale and seq == batch.seq then return lost('a cluster or the mean is not what the log made of it') end
local missed = tail()

local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)

-- Workers that lost too often, in the order they asked: 'token deadline' with a mark `*` once its turn has begun. Only
-- the first of them moves the log, so that one far away commits too. Whoever is late has died, or asks again.
local turns = {}
for token, deadline, begun in string.gmatch(redis.call('HGET', KEYS[1], 'turns') or '', '(%S+) (%d+)(%*?);') do
  local left_ms = tonumber(deadline) - now_ms
  -- A deadline further away than a turn lasts was set by another clock.
  if left_ms > 0 and left_ms <= 60000 then turns[#turns + 1] = {token, tonumber(deadline), begun} end
end
local function put_turns()
  local texts = {}
  for at, turn in ipairs(turns) do texts[at] = turn[1] .. string.format(' %.0f', turn[2]) .. turn[3] .. ';' end
  if texts[1] then redis.call('HSET', KEYS[1], 'turns', table.concat(texts)) else redis.call('HDEL', KEYS[1], 'turns') end
end
local mine, moves_log = nil, batch.mean
local my_token = batch.turn or ''
for at, turn in ipairs(turns) do
  if turn[1] == my_token then mine = at end
end
for t = 1, #touches do moves_log = moves_log or ARGV[vectors_at + 2 * t - 1] ~= '' end
if stale or (moves_log and turns[1] and mine ~= 1) then
  if my_token ~= '' then
    if not mine and #turns < 64 then
      turns[#turns + 1] = {my_token, 0, ''}
      mine = #turns
    end
    -- Waiting keeps the place; a turn once begun is not made longer.
    if mine and turns[mine][3] == '' then
      turns[mine][2] = now_ms + batch.turn_ms
      if mine == 1 then turns[1][3] = '*' end
    end
    put_turns()
  end
  return {'stale', seq, missed, mine == 1 and 'own' or turns[1] and 'other' or ''}
end
if mine then
  table.remove(turns, mine)
  put_turns()
end

local seq_before, entry = seq, 0
local function log(...)
  if entry == 0 then seq = seq + 1 end
  entry = entry + 1
  redis.call('XADD', KEYS[2], string.format('%.0f-%d', seq, entry), ...)
end

local standings, recorded = {}, {}

-- Which of the questions that a cluster counts may not be published: by partition, those not known to be committed.
local joined = {}
for t = 1, #touches do joined[t] = {} end
for _, partition in ipairs(partitions) do
  for _, join in ipairs(partition[5]) do
    table.insert(joined[join[1]], {partition[1], partition[4], join[2]})
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
  local key, id, seen_at = KEYS[clusters_at + t], string.format('%.0f', touch[1]), touch[5]
  local vector_sum, representative = ARGV[vectors_at + 2 * t - 1], ARGV[vectors_at + 2 * t]
  if touch[3] == 0 then
    redis.call('HSET', key, 'created', string.format('%.0f', seen_at))
    if representative ~= '' then redis.call('HSET', key, 'representative', representative) end
    next_id = math.max(next_id, touch[1] + 1)
  end
  if vector_sum ~= '' then
    local members = string.format('%.0f', touch[4])
    redis.call('HSET', key, 'members', members, 'sum', vector_sum)
    log('moved', id, 'members', members, 'sum', vector_sum)
  end
  local size = redis.call('HINCRBY', key, 'size', touch[2])
  local revision = redis.call('HINCRBY', key, 'revision', 1)
  local known = redis.call('HMGET', key, 'label', 'route', 'created', 'seen', 'representative', 'joins',
    'absorbed')
  local seen = math.max(tonumber(known[4] or 0), seen_at)
  local joins = in_flight(known[6], t)
  redis.call('HSET', key, 'seen', string.format('%.0f', seen), 'joins', joins)
  redis.call('ZADD', KEYS[3], string.format('%.0f', seen), id)
  if size == 1 then
    redis.call('ZADD', KEYS[#KEYS], string.format('%.0f', seen), id)
  elseif size - touch[2] == 1 then
    redis.call('ZREM', KEYS[#KEYS], id)
  end
  redis.call('ZADD', KEYS[4], now_ms, id)
  standings[t] = {size, revision, known[1], known[2], known[3], string.format('%.0f', seen), known[5], joins, known[7]}
  recorded[t] = {id, {size - touch[2], known[1] or '', known[2] or ''}}
end
if batch.mean then
  redis.call('HSET', KEYS[1], 'mean_questions', string.format('%.0f', batch.mean[2]), 'mean_sum', ARGV[2])
  log('mean', string.format('%.0f', batch.mean[2]), 'sum', ARGV[2])
end
redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', seq), 'next', string.format('%.0f', next_id))
count_live(KEYS[1], KEYS[3], seq)
if batch.mean or next_id > tonumber(meta[2]) then
  redis.call('ZADD', KEYS[4], now_ms, '0')
end
if entry > 0 then
  redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', batch.log_entries)
end

for p, partition in ipairs(partitions) do
  local clusters = {}
  for _, join in ipairs(partition[5]) do
    clusters[recorded[join[1]][1]] = recorded[join[1]][2]
  end
  redis.call('RPUSH', KEYS[4 + p], ARGV[2 + p] .. cjson.encode(clusters) .. '}')
  while redis.call('LLEN', KEYS[4 + p]) > 1 do
    local oldest = redis.call('LINDEX', KEYS[4 + p], 0)
    if tonumber(string.match(oldest, '^%d+ (%d+) ')) >= partition[4] then break end
    redis.call('LPOP', KEYS[4 + p])
  end
end
return {'committed', seq_before, missed, seq, standings, {tonumber(meta[6]) or 0, now_ms}}
