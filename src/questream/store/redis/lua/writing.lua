-- The second prelude, after prelude.lua, of every script that does more than look up one thing.
-- The time of the store, in ms since the epoch.
local function time_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- Let the one who asks have the lease in a field of a hash for so many ms, or let it go (0 ms); 0 where another has it.
local function take_lease(key, field, asking, lease_ms, longest_ms)
  local now_ms = time_ms()
  local holder, until_ms = string.match(redis.call('HGET', key, field) or '', '^(%S+) (%d+)$')
  local left_ms = holder and tonumber(until_ms) - now_ms or 0
  -- One that ends further away than any lasts was taken by another clock.
  if holder ~= asking and left_ms > 0 and left_ms <= longest_ms then return 0 end
  redis.call('HSET', key, field, asking .. ' ' .. as_text(now_ms + lease_ms))
  return 1
end

local function put(key, field, value)
  if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
end

-- Put the field `named` of levels, '' for none, in the place of one that no later operation has changed: a release before
-- names wrote levels without them.
local function put_names(levels_key, named)
  if named_by(named) < (named_by(redis.call('HGET', levels_key, 'named')) or 0) then return end
  put(levels_key, 'named', named)
end

-- The turns to move the log of a namespace, as the worker of a token finds them. Workers wait in the order they asked:
-- 'token deadline' with a mark `*` once its turn has begun. Only the first of them moves the log, so that one far away
-- commits too. A worker that is late has died, or asks again. Workers of earlier releases know no `line` of meta: they
-- neither wait for these turns nor are waited for.
local function open_turns(meta_key, token, now_ms)
  local waiting, mine = {}, nil
  for name, deadline, begun in string.gmatch(redis.call('HGET', meta_key, 'line') or '', '(%S+) (%d+)(%*?);') do
    local left_ms = tonumber(deadline) - now_ms
    -- A deadline further away than a turn lasts was set by another clock.
    if left_ms > 0 and left_ms <= 60000 then
      waiting[#waiting + 1] = {name, tonumber(deadline), begun}
      if name == token then mine = #waiting end
    end
  end
  local function keep()
    local texts = {}
    for at, turn in ipairs(waiting) do texts[at] = turn[1] .. ' ' .. as_text(turn[2]) .. turn[3] .. ';' end
    put(meta_key, 'line', table.concat(texts))
  end
  local turns = {}
  function turns.is_others() return waiting[1] ~= nil and mine ~= 1 end
  -- Wait in line, unless the token is ''; whose turn it is: 'own', 'other' or ''. Waiting keeps the place; a turn once
  -- begun is not made longer.
  function turns.ask(turn_ms)
    if token ~= '' then
      if not mine and #waiting < 64 then
        waiting[#waiting + 1] = {token, 0, ''}
        mine = #waiting
      end
      if mine and waiting[mine][3] == '' then
        waiting[mine][2] = now_ms + turn_ms
        if mine == 1 then waiting[1][3] = '*' end
      end
      keep()
    end
    return mine == 1 and 'own' or waiting[1] and 'other' or ''
  end
  -- Its batch is committed, or was decided before.
  function turns.finish()
    if mine then
      table.remove(waiting, mine)
      keep()
    end
  end
  return turns
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

-- An operation that is known by what it left has a number that is never given again.
local function raise_operation_count(meta_key, number)
  local count = tonumber(redis.call('HGET', meta_key, 'operation_count') or 0) or 0
  if number > count then redis.call('HSET', meta_key, 'operation_count', as_text(number)) end
end

-- The fields that `is_whole` looks at, and the fields of a cluster row, with which commits and merges reply.
local WHOLE = {'members', 'size', 'revision', 'created', 'seen', 'joins'}
local ROW = {'size', 'revision', 'label', 'route', 'created', 'seen', 'representative', 'joins', 'absorbed',
  'ruled', 'exemplars', 'kept', 'represented'}
-- The fields of a cluster that a commit reads: those of `WHOLE` first, then the rest of `ROW`.
local TOUCHED = {'members', 'size', 'revision', 'created', 'seen', 'joins', 'label', 'route', 'representative',
  'absorbed', 'ruled', 'exemplars', 'kept', 'represented'}

-- The three lists of references to questions of a cluster, one after the other; empty where they cannot be read.
local function parsed_members(text)
  local first = string.find(text, ';', 1, true)
  local second = first and string.find(text, ';', first + 1, true)
  if not second then return '', '', '' end
  return string.sub(text, 1, first - 1), string.sub(text, first + 1, second - 1), string.sub(text, second + 1)
end

local function similarity_of(token) return tonumber(string.match(token, ':(%-?[%d.]+):')) or 0 end

-- The `later` references, then those of `known` that are at other places.
local function newest_members(known, later, most)
  local place = string.match(later, '^([^: ]*:)[^ ]*$')
  if place and known ~= '' and most == 3 and not string.find(known, place, 1, true) then
    -- Most often one question joined.
    return later .. ' ' .. (string.match(known, '^%S+ %S+') or known)
  end
  local found, count = later, 0
  for _ in string.gmatch(later, '%S+') do count = count + 1 end
  for token in string.gmatch(known, '%S+') do
    if count >= most then break end
    if not string.find(' ' .. later, ' ' .. string.match(token, '^[^:]*:'), 1, true) then
      found, count = found == '' and token or found .. ' ' .. token, count + 1
    end
  end
  return found
end

-- The first of two lists in which similarities fall (sign 1) or rise (sign -1); of equal ones those of `known` come first,
-- and a place counts once.
local function first_members(known, later, most, sign)
  -- Most often a full list stays as it is. The first similarity of a text is that of its first reference.
  local last = most == 3 and string.match(known, '^%S+ %S+ (%S+)$')
  if last and sign * similarity_of(later) <= sign * similarity_of(last) then return known end
  local left, right = {}, {}
  for token in string.gmatch(known, '%S+') do left[#left + 1] = token end
  for token in string.gmatch(later, '%S+') do right[#right + 1] = token end
  local found, seen, i, j = {}, {}, 1, 1
  while #found < most and (left[i] or right[j]) do
    local token
    if left[i] and not (right[j] and sign * similarity_of(right[j]) > sign * similarity_of(left[i])) then
      token, i = left[i], i + 1
    else
      token, j = right[j], j + 1
    end
    local place = string.match(token, '^[^:]*')
    if not seen[place] then
      seen[place] = true
      found[#found + 1] = token
    end
  end
  return table.concat(found, ' ')
end

-- What a cluster with `known` references keeps once `later` questions have joined it, `most` of each kind.
local function united_members(known, later, most)
  if known == '' or later == '' then return known .. later end
  local newest, typical, doubtful = parsed_members(known)
  local later_newest, later_typical, later_doubtful = parsed_members(later)
  return newest_members(newest, later_newest, most) .. ';' .. first_members(typical, later_typical, most, 1) .. ';'
    .. first_members(doubtful, later_doubtful, most, -1)
end

-- What the log's entry of a cluster that moved says of its features: nothing where they stay.
local function looked_at(features)
  return features and {'features', features} or {}
end

-- Whether people turned questions away or moved them after `seq`, if the namespace is at `now`: who has not seen
-- it may not decide.
local function is_unaware(meta_key, seq, now)
  local constrained = tonumber(redis.call('HGET', meta_key, 'constrained') or nil) or 0
  return seq < constrained and constrained <= now
end

local function count_live(meta_key, idle_key, seq)
  redis.call('HSET', meta_key, 'live', redis.call('ZCARD', idle_key), 'live_seq', as_text(seq))
end

-- The log of a namespace whose head is `seq`: all that one script appends has the seq after it.
local function open_log(log_key, seq)
  local log = {key = log_key, seq = seq, entries = 0}
  function log.append(...)
    if log.entries == 0 then log.seq = log.seq + 1 end
    log.entries = log.entries + 1
    redis.call('XADD', log_key, string.format('%s-%d', as_text(log.seq), log.entries), ...)
  end
  return log
end

-- Make the appended entries current: their seq is the namespace's. The log keeps about `most_entries`.
local function close_log(log, meta_key, idle_key, most_entries)
  if log.entries == 0 then return end
  redis.call('HSET', meta_key, 'seq', as_text(log.seq))
  count_live(meta_key, idle_key, log.seq)
  redis.call('XTRIM', log.key, 'MAXLEN', '~', most_entries)
end

-- The offsets of two clusters by partition that may not be published yet, as JSON; false for none.
local function joined(one, other)
  if not one or not other then return one or other end
  local joins = cjson.decode(one)
  for partition, offsets in pairs(cjson.decode(other)) do
    local all = joins[partition] or {}
    for _, offset in ipairs(offsets) do all[#all + 1] = offset end
    joins[partition] = all
  end
  return cjson.encode(joins)
end

-- The names of exemplars, with a space between.
local function exemplar_names(text)
  local names = {}
  for token in string.gmatch(text or '', '%S+') do names[#names + 1] = string.match(token, '^[^:]*') end
  return table.concat(names, ' ')
end

-- Keep what a cluster was that another is about to absorb, so that the merge can be undone: `remains` is {key of the stream,
-- most: how many it keeps, undo_ms: for how long}. No text of a question is in it.
local function keep_remains(remains, meta_key, survivor_id, loser_id, survivor, loser)
  if remains.undo_ms <= 0 then return end
  if is_other('XRANGE', remains.key, '-', '+', 'COUNT', 1) then redis.call('DEL', remains.key) end
  local text = {}
  local names = {'size', 'members', 'sum', 'features', 'kept', 'joins', 'absorbed', 'exemplars'}
  for i, value in ipairs(redis.call('HMGET', loser, unpack(names))) do text[names[i]] = value or '' end
  local kept = redis.call('HMGET', survivor, 'label', 'route', 'ruled', 'exemplars', 'kept')
  local entry = redis.call('XADD', remains.key, 'MAXLEN', remains.most, '*', 'cluster', loser_id, 'survivor', survivor_id,
    'size', text.size, 'members', text.members, 'sum', text.sum, 'features', text.features, 'kept', text.kept,
    'joins', text.joins, 'absorbed', text.absorbed, 'exemplars', exemplar_names(text.exemplars),
    'label', kept[1] or '', 'route', kept[2] or '', 'ruled', kept[3] or '', 'kept_exemplars', exemplar_names(kept[4]),
    'survivor_kept', kept[5] or '',
    'generation', redis.call('HGET', meta_key, 'generation') or '0')
  redis.call('XTRIM', remains.key, 'MINID', as_text(math.max(0, time_ms() - remains.undo_ms)))
  redis.call('HSET', loser, 'remains', entry)
end

local function entry_of(found)
  local entry = {}
  for i = 1, #found[2], 2 do entry[found[2][i]] = found[2][i + 1] end
  return entry
end

-- What a merge absorbed, as a table, and the entries of the stream after it; nil where it is not kept, or where a part of it
-- is live again (`note_parted`).
local function remains_of(key, entry)
  if is_other('XRANGE', key, '-', '+', 'COUNT', 1) then return nil end
  local found = redis.call('XRANGE', key, entry, '+')
  if not found[1] or found[1][1] ~= entry then return nil end
  local remains, later = entry_of(found[1]), {}
  for i = 2, #found do
    later[#later + 1] = entry_of(found[i])
    if later[#later].parted and later[#later].cluster == remains.cluster then return nil end
  end
  return remains, later
end

-- Note that a cluster has parted with its `remains` from the survivor: what it came through on its way there, merges that
-- the entries `later` record, has absorbed it and gives it up too, so that nobody takes it out twice.
local function note_parted(key, most, survivor_id, returned_id, remains, later)
  local survivors = {}
  for _, entry in ipairs(later) do
    survivors[entry.cluster] = not entry.parted and entry.survivor or nil
  end
  local through, at = {returned_id}, remains.survivor
  while at and at ~= survivor_id do
    local next_one = survivors[at]
    through[#through + 1], survivors[at], at = at, nil, next_one
  end
  for _, id in ipairs(through) do
    redis.call('XADD', key, 'MAXLEN', most, '*', 'cluster', id, 'survivor', '', 'kept', '', 'parted', returned_id)
  end
end

-- The offsets of `all` that are not in `own`, and those that are: JSON by partition, '' for none.
local function parted_joins(all, own)
  local left, back = {}, {}
  local of_own = own ~= '' and cjson.decode(own) or {}
  for partition, offsets in pairs(cjson.decode(all or '{}')) do
    local is_own = {}
    for _, offset in ipairs(of_own[partition] or {}) do is_own[offset] = true end
    for _, offset in ipairs(offsets) do
      local side = is_own[offset] and back or left
      side[partition] = side[partition] or {}
      side[partition][#side[partition] + 1] = offset
    end
  end
  return next(left) and cjson.encode(left) or '', next(back) and cjson.encode(back) or ''
end

-- The ids of `all` without `id` and those of `own`, and those of `own` that are in it.
local function parted_absorbed(all, id, own)
  local left, back = {}, {}
  for one in string.gmatch(all or '', '%S+') do
    if one ~= id then
      local side = string.find(' ' .. own .. ' ', ' ' .. one .. ' ', 1, true) and back or left
      side[#side + 1] = one
    end
  end
  return table.concat(left, ' '), table.concat(back, ' ')
end

-- Make a cluster that was merged away live again, as its `remains` say, but for what people decided of both and
-- their revisions. `keys` are {survivor, returned, idle, singletons, aliases}; `made` is what becomes of them: {members, sum
-- and kept of the survivor, exemplars of the survivor, returned_exemplars, joined: how many questions that joined since go
-- with the one that returns, returned_kept, threshold and returned_threshold: those of their own, '' for none}.
local function part(log, keys, survivor_id, returned_id, remains, made)
  local survivor, returned = keys.survivor, keys.returned
  local known = redis.call('HMGET', survivor, 'joins', 'absorbed', 'seen')
  local joins, own_joins = parted_joins(known[1], remains.joins)
  local absorbed, own_absorbed = parted_absorbed(known[2], returned_id, remains.absorbed)
  redis.call('HSET', survivor, 'members', made.members, 'sum', made.sum)
  local returned_size = as_text(tonumber(remains.size) + made.joined)
  local size = redis.call('HINCRBY', survivor, 'size', '-' .. returned_size)
  put(survivor, 'joins', joins)
  put(survivor, 'absorbed', absorbed)
  put(survivor, 'kept', made.kept)
  put(survivor, 'exemplars', made.exemplars)
  redis.call('HDEL', returned, 'merged_into', 'remains', 'forgotten')
  redis.call('HSET', returned, 'members', remains.members, 'sum', remains.sum, 'size', returned_size)
  put(returned, 'joins', own_joins)
  put(returned, 'absorbed', own_absorbed)
  put(returned, 'features', remains.features)
  put(returned, 'kept', made.returned_kept)
  put(returned, 'exemplars', made.returned_exemplars)
  local seen = redis.call('HGET', returned, 'seen')
  redis.call('ZREM', keys.aliases, returned_id)
  redis.call('ZADD', keys.idle, seen, returned_id)
  if returned_size == '1' then redis.call('ZADD', keys.singletons, seen, returned_id) end
  redis.call('ZREM', keys.singletons, survivor_id)
  if size == 1 then redis.call('ZADD', keys.singletons, known[3], survivor_id) end
  log.append('moved', survivor_id, 'members', made.members, 'sum', made.sum, 'exemplars', made.exemplars,
    'threshold', made.threshold)
  local more = looked_at(remains.features ~= '' and remains.features)
  log.append('moved', returned_id, 'members', remains.members, 'sum', remains.sum, 'exemplars', made.returned_exemplars,
    'threshold', made.returned_threshold, unpack(more))
end

-- Let a cluster absorb another, but for what people decided of both and their revisions. `keys` are {survivor, loser, idle,
-- singletons, aliases}, `kept` and `lost` the ROW of both; `made` is what becomes of them: {members, sum, features or
-- false, exemplars or '', members_kept: references of each kind}.
local function absorb(log, keys, survivor_id, loser_id, kept, lost, made)
  local survivor, loser = keys.survivor, keys.loser
  local seen = as_text(math.max(tonumber(kept[6]), tonumber(lost[6])))
  redis.call('HSET', survivor, 'members', made.members, 'sum', made.sum, 'seen', seen,
    'created', as_text(math.min(tonumber(kept[5]), tonumber(lost[5]))))
  if made.features then redis.call('HSET', survivor, 'features', made.features) end
  local size = redis.call('HINCRBY', survivor, 'size', lost[1])
  local joins = joined(kept[8], lost[8])
  if joins then redis.call('HSET', survivor, 'joins', joins) end
  local absorbed = loser_id
  for _, ids in ipairs({kept[9] or '', lost[9] or ''}) do
    if ids ~= '' then absorbed = absorbed .. ' ' .. ids end
  end
  redis.call('HSET', survivor, 'absorbed', absorbed)
  local more = looked_at(made.features)
  if made.exemplars ~= '' then
    redis.call('HSET', survivor, 'exemplars', made.exemplars)
    more[#more + 1] = 'exemplars'
    more[#more + 1] = made.exemplars
  end
  if not kept[13] and lost[13] then redis.call('HSET', survivor, 'represented', lost[13]) end
  local members_of_both = united_members(lost[12] or '', kept[12] or '', made.members_kept)
  if members_of_both ~= '' then redis.call('HSET', survivor, 'kept', members_of_both) end
  redis.call('HDEL', loser, 'members', 'sum', 'features', 'exemplars', 'kept', 'joins', 'absorbed')
  redis.call('HSET', loser, 'merged_into', survivor_id)
  redis.call('ZADD', keys.idle, seen, survivor_id)
  redis.call('ZREM', keys.idle, loser_id)
  redis.call('ZREM', keys.singletons, survivor_id, loser_id)
  -- One that people opened may have had no question.
  if size == 1 then redis.call('ZADD', keys.singletons, seen, survivor_id) end
  redis.call('ZADD', keys.aliases, seen, loser_id)
  log.append('removed', loser_id)
  log.append('moved', survivor_id, 'members', made.members, 'sum', made.sum, unpack(more))
end

-- What is wrong with the levels of a namespace that a release before levels has recovered, or nil: it put none back, and
-- numbers that were given would be given again. Every recovery of a release that knows them notes its store epoch.
local function levels_damage(meta_key, store_epoch)
  if redis.call('HGET', meta_key, 'levels_epoch') ~= store_epoch then return 'levels were not restored' end
end

-- How often a cluster was found outdated in the cluster topic (verify_before_commit.lua): with the time, the position
-- of the outbox.
local function outdated_count(meta_key)
  return tonumber(redis.call('HGET', meta_key, 'outdated_count')) or 0
end

-- How many fields the keys of operations have: one that is gone is a lost memory, whichever it is.
local function operation_lengths(operations_key, ids_key)
  return as_text(redis.call('HLEN', operations_key)) .. ' ' .. as_text(redis.call('HLEN', ids_key))
end
