-- Commit an operation: what somebody decided of clusters, all of it or nothing. Its number is above those of all operations
-- before, also where the namespace has lost its count.
-- What becomes of exemplars, thresholds and rules is in the log: workers that have not seen it decide again (`constrained` of meta).
-- Rules are there in an entry of the mean, which stays as it is: a release before rules knows no other kind.
-- A merge is an operation on the survivor and the one that goes, in this order; where it is undone, on the one that the
-- survivor is by now and the one that comes back.
-- KEYS: 1 meta, 2 outbox, 3 operations, 4 operation_ids, 5 log, 6 idle, 7 singletons, 8 aliases, 9 remains, 10 levels,
--       11 names, then N clusters, then the aliases of one whose texts are erased
-- ARGV: 1 JSON {id, kept: how many operations stay, undoes: number or 0, log_entries,
--               clusters: [[id, label, route, ruling, exemplars before, label, route, ruling, exemplars after,
--                         represented before, represented after, own threshold before, own threshold after] * N],
--               '' for none; a ruling is the field `ruled` without its first word, '-' where there is none,
--               merge: false, or {members of the first cluster, of the second, features of both or false,
--                                 references of each kind that a cluster keeps},
--               part: false, or {members of the first cluster, entry of what the second was, `kept` of the first after it, how
--                                many questions that joined since go with the second, its `kept`, the number of the last
--                                operation that has erased its texts since the merge, or 0},
--               remains_kept, undo_ms: how much is kept of what merges absorb, and how long,
--               rules: false, or [JSON of the namespace's rules before, after], '' for none,
--               levels: false, or the version of the levels that it changes,
--               opens: [[members, features or false, representative or '', ms] * M]: so many of the clusters, the last ones, are
--                      opened with the numbers that are next, and no question in them,
--               retires: [id]: those of the clusters that leave the index, as retire.lua, where no question is in them,
--               tombstone_ms,
--               forgets: false, or {aliases: [id], aliases_known: SHA-1 of all aliases as their index has them, operation_count,
--                        operations: [[number, text]] that have texts of these clusters, without them}: texts of the one
--                        cluster are erased},
--       2 the operation as it is kept, but for its time, 3 the sum of the first cluster after a merge or its undo, else '',
--       4 the names of the levels after it, 5 these levels, '' where they stay: store/levels_text.py, then the M sums of those
--       opened
-- Replies: its number, or that of the operation which had its id first; false where a cluster is gone or not ruled as it
--          was before, a number that it opens is not next, one that it retires has a question, or a centroid of a merge or the levels have moved, or where what it undoes is undone or no longer kept; 'waits' where the oldest that is kept would
--          go before it is published; or error RECOVERY_NEEDED or LOST
local meta_key, outbox_key, operations_key, ids_key, log_key, idle_key, singletons_key, aliases_key, remains_key,
  levels_key, names_key = unpack(KEYS, 1, 11)
local request, text, sum_after = cjson.decode(ARGV[1]), ARGV[2], ARGV[3]
local merge, parting = request.merge, request.part
local opens, first_opened, retires = request.opens or {}, #request.clusters - #(request.opens or {}), {}
for _, id in ipairs(request.retires or {}) do retires[id] = true end
local function cluster_key(i) return KEYS[11 + i] end
local forgets = request.forgets
local function alias_key(i) return KEYS[11 + #request.clusters + i] end

if not current_store_epoch(meta_key) then return recovery_needed() end
local count = redis.call('HGET', meta_key, 'operation_count') or '0'
if not is_number(count) then return lost('the count of operations cannot be read') end
local meta = redis.call('HMGET', meta_key, 'seq', 'next', 'mean_questions', 'live', 'live_seq', 'rules', 'mean_sum', 'dimension')
local damaged = damage(meta, log_key, idle_key)
if damaged then return lost(damaged) end
require_zsets(outbox_key, singletons_key, aliases_key)
local newest_kept = redis.call('HGET', meta_key, 'operation_kept')
local kept_number, kept_id = string.match(newest_kept or '', '^(%d+) (.*)$')
if newest_kept and not kept_number then return lost('which operation was the last cannot be read') end
local lengths_at, lengths = string.match(redis.call('HGET', meta_key, 'operation_lengths') or '', '^(%d+) (.*)$')
if kept_number and lengths_at == kept_number and lengths ~= operation_lengths(operations_key, ids_key) then
  return lost('operations are gone')
end
-- A release before `operation_kept` may have written more than are kept since.
if kept_number and tonumber(kept_number) > tonumber(count) - request.kept
    and (redis.call('HEXISTS', operations_key, kept_number) == 0 or redis.call('HEXISTS', ids_key, kept_id) == 0) then
  return lost('operations are gone')
end
local known_as = redis.call('HGET', ids_key, request.id)
if known_as and redis.call('HEXISTS', operations_key, known_as) == 1 then return tonumber(known_as) end
local undoes = as_text(request.undoes)
local undone_field = 'undone:' .. undoes
if request.undoes ~= 0 and (redis.call('HEXISTS', operations_key, undone_field) == 1
    or redis.call('HEXISTS', operations_key, undoes) == 0) then
  return false
end
local remains, later
if parting then remains, later = remains_of(remains_key, parting[2]) end
if parting and (not remains or remains.generation ~= (redis.call('HGET', meta_key, 'generation') or '0')) then return false end
local rules, known_rules = request.rules, string.match(meta[6] or '0 ', '^%d+ (.*)$')
if not known_rules then return lost('the rules cannot be read') end
if rules and known_rules ~= rules[1] then return false end
local levels = redis.call('HMGET', levels_key, 'version', 'named')
local named = named_by(levels[2])
if not named then return lost('the names of levels cannot be read') end
damaged = request.levels and levels_damage(meta_key, current_store_epoch(meta_key))
if damaged then return lost(damaged) end
if request.levels and levels[1] ~= request.levels then return false end
if forgets then
  -- As many may be others: of one that was absorbed meanwhile the texts would stay.
  local known = redis.sha1hex(table.concat(redis.call('ZRANGE', aliases_key, 0, -1), ' '))
  if tonumber(count) ~= forgets.operation_count or known ~= forgets.aliases_known then return false end
  for i = 1, #forgets.aliases do
    if redis.call('HEXISTS', alias_key(i), 'merged_into') == 0 then return false end
  end
end
local number = math.max(tonumber(count), rules_operation(meta[6]), named)
for i, cluster in ipairs(request.clusters) do
  local id, label, route, ruling, exemplars = unpack(cluster)
  local known = redis.call('HMGET', cluster_key(i), 'members', 'size', 'revision', 'label', 'route', 'ruled', 'merged_into',
    'retired', 'exemplars', 'represented')
  local members, size, revision, known_label, known_route, ruled, merged_into, retired = unpack(known, 1, 8)
  if i > first_opened then
    if id ~= tonumber(meta[2]) + i - first_opened - 1 then return false end
    if revision or size then return lost('the next number is that of a cluster') end
    members = '0'
  end
  if size and not (members or merged_into or retired) or size and members and not is_number(revision) then
    return lost('a cluster is cut short')
  end
  local operation, known_ruling = string.match(ruled or '0 -', '^(%d+) (.+)$')
  if not operation then return lost('a ruling cannot be read') end
  local is_there = members
  if parting and i == 2 then
    is_there = merged_into and not retired and redis.call('HGET', cluster_key(i), 'remains') == parting[2]
      and (redis.call('HGET', cluster_key(i), 'forgotten') or '0') == as_text(parting[6])
  elseif parting then
    local whole = redis.call('HMGET', cluster_key(i), unpack(WHOLE))
    if members and not is_whole(whole) then return lost('a cluster is cut short') end
    is_there = members and tonumber(members) == parting[1] and parting[1] > tonumber(remains.members)
      and tonumber(size) > tonumber(remains.size) + parting[4]
  end
  if not is_there or (known_label or '') ~= label or (known_route or '') ~= route or known_ruling ~= ruling
    or (known[9] or '') ~= exemplars or (known[10] or '') ~= cluster[10] then
    return false
  end
  if retires[id] and tonumber(size) ~= 0 then return false end
  if merge then
    local whole = redis.call('HMGET', cluster_key(i), unpack(WHOLE))
    if not is_whole(whole) then return lost('a cluster is cut short') end
    if tonumber(members) ~= merge[i] then return false end
  end
  number = math.max(number, tonumber(operation))
end
number = number + 1
local publishing = redis.call('HMGET', meta_key, 'operation_epoch', 'operations_published')
if publishing[1] and number - request.kept > (tonumber(publishing[2] or 0) or 0) then return 'waits' end

local now_ms = time_ms()
local log = open_log(log_key, tonumber(meta[1]))
local merged_rows = {}
for i = 1, merge and 2 or 0 do merged_rows[i] = redis.call('HMGET', cluster_key(i), unpack(ROW)) end
local one_id, other_id = request.clusters[1] and as_text(request.clusters[1][1]), request.clusters[2]
  and as_text(request.clusters[2][1])
if merge then
  keep_remains({key = remains_key, most = request.remains_kept, undo_ms = request.undo_ms}, meta_key, one_id, other_id,
    cluster_key(1), cluster_key(2))
end
for i, cluster in ipairs(request.clusters) do
  local id, label, route, _, exemplars, new_label, new_route, new_ruling, new_exemplars = unpack(cluster)
  local key, opened = cluster_key(i), opens[i - first_opened]
  if opened then
    redis.call('HSET', key, 'members', as_text(opened[1]), 'sum', ARGV[5 + i - first_opened], 'size', '0',
      'created', as_text(opened[4]), 'seen', as_text(opened[4]))
    if opened[2] then redis.call('HSET', key, 'features', opened[2]) end
    put(key, 'representative', opened[3])
    redis.call('ZADD', idle_key, as_text(opened[4]), as_text(id))
  end
  put(key, 'label', new_label)
  put(key, 'route', new_route)
  put(key, 'represented', cluster[11])
  redis.call('HSET', key, 'ruled', as_text(number) .. ' ' .. new_ruling)
  local revision = redis.call('HINCRBY', key, 'revision', 1)
  if label ~= new_label or route ~= new_route then redis.call('HSET', key, 'labelled', revision) end
  redis.call('ZADD', outbox_key, now_ms, as_text(id))
  if forgets then redis.call('HDEL', key, 'representative', 'kept') end
  local binds = exemplars ~= new_exemplars or cluster[12] ~= cluster[13]
  if (opened or forgets or binds) and not (merge or parting) then
    put(key, 'exemplars', new_exemplars)
    local centroid = redis.call('HMGET', key, 'members', 'sum')
    log.append('moved', as_text(id), 'members', centroid[1], 'sum', centroid[2], 'exemplars', new_exemplars,
      'threshold', cluster[13], unpack(looked_at(opened and opened[2])))
    redis.call('HSET', meta_key, 'constrained', as_text(log.seq))
  end
  if retires[id] then
    redis.call('ZREM', idle_key, as_text(id))
    redis.call('HDEL', key, 'members', 'sum', 'representative', 'label', 'route', 'labelled', 'ruled', 'features',
      'exemplars', 'kept', 'joins', 'absorbed', 'represented')
    redis.call('HSET', key, 'retired', '1')
    redis.call('ZADD', outbox_key, as_text(now_ms + request.tombstone_ms), as_text(id))
    log.append('removed', as_text(id))
  end
end
if opens[1] then
  redis.call('HSET', meta_key, 'next', as_text(tonumber(meta[2]) + #opens))
  redis.call('ZADD', outbox_key, now_ms, '0')
end
if merge then
  local features, members_kept = merge[3], merge[4]
  local keys = {survivor = cluster_key(1), loser = cluster_key(2), idle = idle_key, singletons = singletons_key,
    aliases = aliases_key}
  absorb(log, keys, one_id, other_id, merged_rows[1], merged_rows[2],
    {members = as_text(merge[1] + merge[2]), sum = sum_after, features = features, exemplars = request.clusters[1][9],
      members_kept = members_kept})
end
if rules then
  local text = as_text(number) .. ' ' .. rules[2]
  redis.call('HSET', meta_key, 'rules', text)
  log.append('mean', as_text(tonumber(meta[3])), 'sum', meta[7] or string.rep('\0', 4 * tonumber(meta[8])), 'rules', text)
  redis.call('HSET', meta_key, 'constrained', as_text(log.seq))
  redis.call('ZADD', outbox_key, now_ms, '0')
end
if parting then
  local keys = {survivor = cluster_key(1), returned = cluster_key(2), idle = idle_key, singletons = singletons_key,
    aliases = aliases_key}
  part(log, keys, one_id, other_id, remains, {members = as_text(parting[1] - tonumber(remains.members)), sum = sum_after,
    kept = parting[3], exemplars = request.clusters[1][9], returned_exemplars = request.clusters[2][9],
    joined = parting[4], returned_kept = parting[5], threshold = request.clusters[1][13],
    returned_threshold = request.clusters[2][13]})
  note_parted(remains_key, request.remains_kept, one_id, other_id, remains, later)
  redis.call('HSET', meta_key, 'constrained', as_text(log.seq))
end
if request.levels then
  local version = math.max(tonumber(levels[1]) + 1, now_ms)
  redis.call('HSET', levels_key, 'version', as_text(version), 'named', as_text(number) .. ' ' .. ARGV[4], 'heeded', as_text(version))
  if ARGV[5] ~= '' then redis.call('HSET', levels_key, 'levels', ARGV[5]) end
end
close_log(log, meta_key, idle_key, request.log_entries)
if forgets then
  -- Entries before this one may have texts of exemplars: mirrors are loaded anew.
  redis.call('XTRIM', log_key, 'MINID', as_text(log.seq) .. '-0')
  if is_other('HGET', names_key, 'changes') then redis.call('DEL', names_key) end
  redis.call('HDEL', names_key, one_id)
  for i, id in ipairs(forgets.aliases) do
    redis.call('HDEL', alias_key(i), 'representative', 'represented')
    -- Its remains have references.
    redis.call('HSET', alias_key(i), 'forgotten', as_text(number))
    redis.call('HINCRBY', alias_key(i), 'revision', 1)
    redis.call('ZADD', outbox_key, now_ms, as_text(id))
    redis.call('HDEL', names_key, as_text(id))
  end
  local changes = redis.call('HGET', names_key, 'changes')
  redis.call('HSET', names_key, 'changes', as_text(math.max((is_number(changes) and tonumber(changes) or 0) + 1, now_ms)))
  for _, kept in ipairs(forgets.operations) do
    local when = string.match(redis.call('HGET', operations_key, as_text(kept[1])) or '', '^%d+ ')
    if when then redis.call('HSET', operations_key, as_text(kept[1]), when .. kept[2]) end
  end
end
redis.call('HSET', meta_key, 'operation_count', as_text(number), 'operation_kept', as_text(number) .. ' ' .. request.id)
redis.call('HSET', operations_key, as_text(number), as_text(now_ms) .. ' ' .. text)
redis.call('HSET', ids_key, request.id, as_text(number))
if request.undoes ~= 0 then redis.call('HSET', operations_key, undone_field, as_text(number)) end
local oldest = as_text(number - request.kept)
local kept = redis.call('HGET', operations_key, oldest)
if kept then
  local is_json, operation = pcall(cjson.decode, string.match(kept, '{.*}') or '')
  if is_json then redis.call('HDEL', ids_key, operation.id) end
  redis.call('HDEL', operations_key, oldest, 'undone:' .. oldest)
end
redis.call('HSET', meta_key, 'operation_lengths', as_text(number) .. ' ' .. operation_lengths(operations_key, ids_key))
return number
