-- The prelude of every script.
-- The process of Redis that this runs in, and since when it is master: both change where memory can have been lost, the
-- first with a restart, the second with a failover. Two INFOs cost about 20 us each.
local function this_process()
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  return run_id .. '.' .. replid
end

-- A token `<process>:<nonce>` of meta, or false where it is none or of another process.
local function current(meta_key, field)
  local token = redis.call('HGET', meta_key, field)
  return token and string.match(token, '^([^:]+):') == this_process() and token
end

-- The store epoch under which the namespace was last compared with the cluster topic; false where that was never, or in
-- another process: one that was restarted, failed over to, emptied or restored may have forgotten what was published.
local function current_store_epoch(meta_key)
  return current(meta_key, 'incarnation')
end

local function recovery_needed()
  return redis.error_reply('RECOVERY_NEEDED the namespace has to be compared with the cluster topic first')
end

-- A key is missing, of another type, cut short, or older than what was seen of it: the namespace has lost memory while
-- Redis went on. The caller ends the store epoch, so that what is missing is restored from the cluster topic.
local function lost(what)
  return redis.error_reply('LOST ' .. what)
end

-- Whether a key is of another type than the one of this command, which changes nothing.
-- Any other error says nothing of the type, and is the script's: of a command that is denied, nothing may be deleted.
local function is_other(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return false end
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then redis.call(command, key, ...) end
  return true
end

-- A whole number as text: Lua's own form of a large one is 1e+15.
local function as_text(number) return string.format('%.0f', number) end

-- Whether the text of a field is a number that HINCRBY takes; a field that is missing is none.
local function is_number(text)
  return text and string.match(text, '^%-?%d+$') ~= nil
end

-- The table {partition: [offset]} of a cluster's field `joins`, empty where it has none; nil where it cannot be read.
local function parsed_joins(text)
  if not text then return {} end
  local is_json, joins = pcall(cjson.decode, text)
  if not is_json or type(joins) ~= 'table' then return nil end
  for _, offsets in pairs(joins) do
    if type(offsets) ~= 'table' then return nil end
    for _, offset in pairs(offsets) do
      if type(offset) ~= 'number' then return nil end
    end
  end
  return joins
end

-- Whether {members, size, revision, created, seen, joins} are those of a live cluster. Asked before anything is written:
-- one that is read as zero would be published so, and a centroid of no members makes all scores of a mirror void.
local function is_whole(known)
  for i = 1, 5 do
    if not is_number(known[i]) then return false end
  end
  return tonumber(known[1]) > 0 and parsed_joins(known[6]) ~= nil
end

-- The number of the operation that set the rules of a namespace, of the field `rules` of its meta; 0 where none has.
local function rules_operation(text) return tonumber(string.match(text or '', '^(%d+) ') or 0) end

-- The number of the last operation that named intents or topics, of the field `named` of the levels; 0 where none has, nil
-- where it cannot be read.
local function named_by(text) return tonumber(string.match(text or '', '^(%d+) ') or (text or '') == '' and 0 or nil) end

-- The current revision of a cluster, as text, or false where it is gone; for id 0 the namespace's: its mean's question
-- count + its next cluster's number + the operation that set its rules, false where these are damaged.
local function revision_of(id, meta_key, cluster_key)
  if id ~= '0' then return redis.call('HGET', cluster_key, 'revision') end
  local meta = redis.call('HMGET', meta_key, 'mean_questions', 'next', 'rules')
  return is_number(meta[1]) and is_number(meta[2]) and as_text(meta[1] + meta[2] + rules_operation(meta[3]))
end

-- What does not hold of {seq, next, mean_questions} of the namespace and its log, or nil.
local function log_damage(meta, log_key)
  if not (is_number(meta[1]) and is_number(meta[2]) and is_number(meta[3])) then return 'its numbers are missing' end
  local ahead = as_text(tonumber(meta[1]) + 1)
  if redis.call('XRANGE', log_key, ahead .. '-0', '+', 'COUNT', 1)[1] then return 'the log is ahead of its number' end
end

-- The entries of the log after `since`, of a namespace at `seq`; false where they were trimmed.
local function changes_after(log_key, since, seq)
  if since == seq then return {} end
  local first = as_text(since + 1)
  local entries = redis.call('XRANGE', log_key, first .. '-0', '+')
  if not entries[1] or entries[1][1] ~= first .. '-1' then return false end
  return entries
end
