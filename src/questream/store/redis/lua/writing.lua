-- What stands, after prelude.lua, before every script that does more than look up one thing.
-- The time of the store, in ms since the epoch.
local function time_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- What does not hold of the namespace, or nil; asked before anything is written, since Redis undoes nothing. `meta` is
-- {seq, next, mean_questions, live, live_seq}: so many clusters were in the index at that seq.
local function damage(meta, log_key, idle_key)
  local found = log_damage(meta, log_key)
  if found then return found end
  local live = redis.call('ZCARD', idle_key)
  -- A worker of an earlier release moves seq and does not count.
  if meta[5] == meta[1] and live ~= tonumber(meta[4]) then return 'the index has not the clusters that it had' end
end

-- The last offset that a partition's ledger has decided, or -1; and whether it is below the one that was recorded in this
-- store epoch: of a ledger that is gone or cut short the questions would be decided and counted again.
local function ledger_head(meta_key, ledger_key, partition, store_epoch)
  local newest = redis.call('LINDEX', ledger_key, -1)
  local head = newest and tonumber(string.match(newest, '^%d+ (%d+) ')) or -1
  local epoch, recorded = string.match(redis.call('HGET', meta_key, 'head:' .. partition) or '', '^(%S+) (%d+)$')
  return head, epoch == store_epoch and head < tonumber(recorded)
end

local function record_head(meta_key, partition, store_epoch, head)
  redis.call('HSET', meta_key, 'head:' .. partition, store_epoch .. ' ' .. as_text(head))
end

-- An error is raised before anything is written where one of these sorted sets is of another type.
local function require_zsets(...)
  for _, key in ipairs({...}) do redis.call('ZCARD', key) end
end

-- The fields that `is_whole` looks at, and those of the standing of a cluster that commits and merges reply with.
local WHOLE = {'members', 'size', 'revision', 'created', 'seen', 'joins'}
local STANDING = {'size', 'revision', 'label', 'route', 'created', 'seen', 'representative', 'joins', 'absorbed',
  'ruled', 'exemplars'}

-- What the log's entry of a cluster that moved says of its features: nothing where they stay.
local function looked_at(features)
  return features and {'features', features} or {}
end

-- Whether people turned questions away or moved them after `seq`, where the namespace stands at `now`: who has not seen
-- it may not decide.
local function is_unaware(meta_key, seq, now)
  local constrained = tonumber(redis.call('HGET', meta_key, 'constrained') or nil) or 0
  return seq < constrained and constrained <= now
end

local function count_live(meta_key, idle_key, seq)
  redis.call('HSET', meta_key, 'live', redis.call('ZCARD', idle_key), 'live_seq', as_text(seq))
end

-- The log of a namespace that stands at `seq`: all that one script appends has the seq after it.
local function open_log(log_key, seq)
  local log = {key = log_key, seq = seq, entries = 0}
  function log.append(...)
    if log.entries == 0 then log.seq = log.seq + 1 end
    log.entries = log.entries + 1
    redis.call('XADD', log_key, string.format('%s-%d', as_text(log.seq), log.entries), ...)
  end
  return log
end

-- What was appended counts: the namespace stands at its seq. The log keeps about `most_entries`.
local function close_log(log, meta_key, idle_key, most_entries)
  if log.entries == 0 then return end
  redis.call('HSET', meta_key, 'seq', as_text(log.seq))
  count_live(meta_key, idle_key, log.seq)
  redis.call('XTRIM', log.key, 'MAXLEN', '~', most_entries)
end

-- How often a cluster was found outdated in the cluster topic (verify_before_commit.lua): with the time, where the outbox
-- stands.
local function outdated_count(meta_key)
  return tonumber(redis.call('HGET', meta_key, 'outdated_count')) or 0
end
