-- Merge pairs of clusters, each only if both still have the members that it was proposed at, and no merge before it in
-- the call that names either was refused: later sums build on earlier merges. A label and its route are people's word:
-- they survive together, and a merge that would drop them or mix them with others is refused, unless it says that it
-- drops just these. Clusters that people separated never merge, nor do those kept in two intents or topics, pinned ones only by an operator; what one inherits of the
-- other binds it. Of the two that are one by now, the id of the one that is kept in an intent survives, else the named one's, else the larger one's, else the
-- older one's; where a naming is dropped, the survivor is the one that was proposed. A later merge of the call that
-- names what did not survive means what did.
-- KEYS: 1 meta, 2 log, 3 idle, 4 outbox, then pairs of (survivor, loser), then singletons, aliases, remains
-- ARGV: 1 JSON {store epoch, seq, log_entries, exemplars_kept, members_kept: references of each kind, remains_kept, undo_ms: how much is
--               kept of what merges absorb, and how long,
--               merges: [[survivor id, loser id, survivor members, loser members,
--                         [label, route] dropped with the loser, '' for none, or false,
--                         whether an operator merges them: pinned clusters too,
--                         features of the survivor after it or false where these stay]]}, then the sums
-- Replies: {seq before, tail after ARGV.seq or false where trimmed, seq,
--           {false where refused, else {survivor row, loser row, survivor id, loser id}} * N,
--           {the merge, from 1, survivor id, loser id} of each that was refused because of what people decided},
--           {outbox count, ms} as outbox_position.lua}, or error RECOVERY_NEEDED or LOST
--          a row is {size, revision, label, route, created, seen, representative, joins, absorbed, ruled,
--                        exemplars, kept, represented}
local meta_key, log_key, idle_key, outbox_key = unpack(KEYS, 1, 4)
local singletons_key, aliases_key, remains_key = KEYS[#KEYS - 2], KEYS[#KEYS - 1], KEYS[#KEYS]
local batch = cjson.decode(ARGV[1])
local function survivor_key(i) return KEYS[3 + 2 * i] end
local function loser_key(i) return KEYS[4 + 2 * i] end
local function merged_sum(i) return ARGV[1 + i] end
if current_store_epoch(meta_key) ~= batch.store_epoch then return recovery_needed() end
local meta = redis.call('HMGET', meta_key, 'seq', 'next', 'mean_questions', 'live', 'live_seq')
local damaged = damage(meta, log_key, idle_key)
if damaged then return lost(damaged) end
local seq = tonumber(meta[1])
if seq < batch.seq then return lost('the log has fewer changes than it had') end
require_zsets(outbox_key, singletons_key, aliases_key)
for i = 1, #batch.merges do
  for _, key in ipairs({survivor_key(i), loser_key(i)}) do
    local known = redis.call('HMGET', key, unpack(WHOLE))
    if known[1] and not is_whole(known) then return lost('a cluster is cut short') end
  end
end

local missed = changes_after(log_key, batch.seq, seq)
local log = open_log(log_key, seq)

-- The label and route of what a merge makes, '' for none; nil where it must not happen.
local function naming(kept, lost, dropped)
  local kept_label, kept_route, label, route = kept[3] or '', kept[4] or '', lost[3] or '', lost[4] or ''
  if label == '' and route == '' or label == kept_label and route == kept_route then return kept_label, kept_route end
  if kept_label == '' and kept_route == '' then return label, route end
  if dropped and dropped[1] == label and dropped[2] == route then return kept_label, kept_route end
end

-- The field `ruled` of a cluster as the number of its operation, whether it is pinned, its separations in order, and its
-- other flags.
local function parsed_ruling(ruled)
  local operation, flags, rest = string.match(ruled or '0 -', '^(%d+) (%S+)(.*)$')
  local separations = {}
  for separation in string.gmatch(rest, '%S+') do separations[#separations + 1] = separation end
  local others = string.gsub(flags, '[-p]', '')
  return tonumber(operation), string.find(flags, 'p', 1, true) ~= nil, separations, others
end

-- The field `ruled` of what a merge makes, '' for none; nil where people's decisions forbid the merge.
local function ruling(kept, lost, by_operator)
  if not kept[10] and not lost[10] then return '' end
  local kept_operation, kept_pinned, separations, flags = parsed_ruling(kept[10])
  local lost_operation, lost_pinned, others = parsed_ruling(lost[10])
  local ends, kept_in = {}, {}
  for _, separation in ipairs(separations) do
    ends[separation] = true
    local level = string.match(separation, '^(%a).*=$')
    if level then kept_in[level] = separation end
  end
  for _, separation in ipairs(others) do
    local opposite = string.sub(separation, -1) == '+' and '-' or '+'
    if ends[string.sub(separation, 1, -2) .. opposite] then return nil end
    local level = string.match(separation, '^(%a).*=$')
    if level and kept_in[level] and kept_in[level] ~= separation then return nil end
    if not ends[separation] then separations[#separations + 1] = separation end
  end
  if (kept_pinned or lost_pinned) and not by_operator then return nil end
  flags = ((kept_pinned or lost_pinned) and 'p' or '') .. flags
  local words = {as_text(math.max(kept_operation, lost_operation)), flags == '' and '-' or flags}
  for _, separation in ipairs(separations) do words[#words + 1] = separation end
  return table.concat(words, ' ')
end

-- The exemplars of what a merge makes: of both, by name, the last ones; '' for none.
local function united_exemplars(kept, lost)
  if not kept or not lost then return kept or lost or '' end
  local names, by_name = {}, {}
  for _, text in ipairs({lost, kept}) do
    for token in string.gmatch(text, '%S+') do
      local name = string.match(token, '^([^:]*):')
      if not by_name[name] then names[#names + 1] = name end
      by_name[name] = token
    end
  end
  table.sort(names)
  local tokens = {}
  for i = math.max(1, #names - batch.exemplars_kept + 1), #names do tokens[#tokens + 1] = by_name[names[i]] end
  return table.concat(tokens, ' ')
end

local function survives_before(one_id, one, other_id, other)
  local one_kept, other_kept = string.find(one[10] or '', ' [it]%d+='), string.find(other[10] or '', ' [it]%d+=')
  if (one_kept == nil) ~= (other_kept == nil) then return one_kept ~= nil end
  local one_named, other_named = (one[3] or '') .. (one[4] or '') ~= '', (other[3] or '') .. (other[4] or '') ~= ''
  if one_named ~= other_named then return one_named end
  local one_size, other_size = tonumber(one[1]), tonumber(other[1])
  if one_size ~= other_size then return one_size > other_size end
  return one_id < other_id
end

local now_ms = time_ms()
local unaware = is_unaware(meta_key, batch.seq, seq)
local key_of, stands_for = {}, {}
for i, merge in ipairs(batch.merges) do
  key_of[merge[1]], key_of[merge[2]] = survivor_key(i), loser_key(i)
end
local results, refused, apart = {}, {}, {}
for i, merge in ipairs(batch.merges) do
  local proposed_survivor, proposed_loser, kept_members, lost_members, dropped, by_operator, features = unpack(merge)
  local kept_id = stands_for[proposed_survivor] or proposed_survivor
  local lost_id = stands_for[proposed_loser] or proposed_loser
  local survivor_members = tonumber(redis.call('HGET', key_of[kept_id], 'members') or -1)
  local loser_members = tonumber(redis.call('HGET', key_of[lost_id], 'members') or -1)
  local moved = survivor_members ~= kept_members or loser_members ~= lost_members or refused[proposed_survivor]
    or refused[proposed_loser] or unaware
  local kept = redis.call('HMGET', key_of[kept_id], unpack(ROW))
  local lost = redis.call('HMGET', key_of[lost_id], unpack(ROW))
  if not moved and not dropped and survives_before(lost_id, lost, kept_id, kept) then
    kept_id, lost_id, kept, lost = lost_id, kept_id, lost, kept
  end
  local survivor, loser = key_of[kept_id], key_of[lost_id]
  local survivor_id, loser_id = as_text(kept_id), as_text(lost_id)
  local label, route = naming(kept, lost, dropped)
  local ruled = ruling(kept, lost, by_operator)
  if moved or not label or not ruled then
    results[i] = false
    refused[proposed_survivor], refused[proposed_loser] = true, true
    if not moved then apart[#apart + 1] = {i, survivor_id, loser_id} end
  else
    stands_for[proposed_survivor], stands_for[proposed_loser] = kept_id, kept_id
    keep_remains({key = remains_key, most = batch.remains_kept, undo_ms = batch.undo_ms}, meta_key, survivor_id, loser_id,
      survivor, loser)
    redis.call('HINCRBY', survivor, 'revision', 1)
    redis.call('HINCRBY', loser, 'revision', 1)
    if label ~= '' then redis.call('HSET', survivor, 'label', label) end
    if route ~= '' then redis.call('HSET', survivor, 'route', route) end
    if ruled ~= '' then redis.call('HSET', survivor, 'ruled', ruled) end
    redis.call('ZADD', outbox_key, now_ms, survivor_id, now_ms, loser_id)
    absorb(log, {survivor = survivor, loser = loser, idle = idle_key, singletons = singletons_key, aliases = aliases_key},
      survivor_id, loser_id, kept, lost, {members = as_text(kept_members + lost_members), sum = merged_sum(i),
        features = features, exemplars = united_exemplars(kept[11], lost[11]), members_kept = batch.members_kept})
    local survived, ended = redis.call('HMGET', survivor, unpack(ROW)), redis.call('HMGET', loser, unpack(ROW))
    results[i] = {survived, ended, survivor_id, loser_id}
  end
end
close_log(log, meta_key, idle_key, batch.log_entries)
return {seq, missed, log.seq, results, apart, {outdated_count(meta_key), now_ms}}
