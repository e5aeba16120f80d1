-- Compare the operations with what was published of them: what the store lacks is restored.
-- A store that had lost its memory may have given a number again before somebody noticed: who has it in the topic keeps
-- it, and the other goes behind all of them. An operation that was done again meanwhile is the one that was published.
-- KEYS: 1 meta, 2 operations, 3 operation_ids
-- ARGV: 1 token of the claim or of a recovery, 2 number of the last published one, 3 how many operations stay,
--       4 JSON [[number, id, undoes or 0] * N], oldest first, then N texts as they are kept
-- Replies: how many were restored; false where claim and recovery are another's
local meta_key, operations_key, ids_key = KEYS[1], KEYS[2], KEYS[3]
local token, newest, kept = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local store_epoch = current_store_epoch(meta_key)
local holder = string.match(redis.call('HGET', meta_key, 'operation_claim') or '', '^(%S+) ')
local recovers = not store_epoch and current(meta_key, 'settling') == token
if not recovers and not (store_epoch and holder == token) then return false end
for _, key in ipairs({operations_key, ids_key}) do
  if is_other('HEXISTS', key, '') then redis.call('DEL', key) end
end
local known_count = tonumber(redis.call('HGET', meta_key, 'operation_count') or 0) or 0
local count, restored, displaced = math.max(known_count, newest), 0, {}

local function id_of(text)
  local is_json, operation = pcall(cjson.decode, string.match(text, '^%d+ (.*)$') or '')
  return is_json and type(operation) == 'table' and operation.id or nil
end

for i, operation in ipairs(cjson.decode(ARGV[4])) do
  local number, id, undoes = unpack(operation)
  local field = as_text(number)
  local text = redis.call('HGET', operations_key, field)
  if number > count - kept and not (text and id_of(text) == id) then
    local again = redis.call('HGET', ids_key, id)
    if again and again ~= field and id_of(redis.call('HGET', operations_key, again) or '') == id then
      redis.call('HDEL', operations_key, again, 'undone:' .. again)
    end
    local undone = redis.call('HGET', operations_key, 'undone:' .. field)
    redis.call('HDEL', operations_key, 'undone:' .. field)
    if text and id_of(text) then displaced[#displaced + 1] = {field, text, undone} end
    redis.call('HSET', operations_key, field, ARGV[4 + i])
    redis.call('HSET', ids_key, id, field)
    if undoes ~= 0 then redis.call('HSET', operations_key, 'undone:' .. as_text(undoes), field) end
    restored = restored + 1
  end
end
for _, operation in ipairs(displaced) do
  local field, text, undone = unpack(operation)
  local id = id_of(text)
  if (redis.call('HGET', ids_key, id) or field) == field then
    count = count + 1
    redis.call('HSET', operations_key, as_text(count), text)
    redis.call('HSET', ids_key, id, as_text(count))
    if undone then redis.call('HSET', operations_key, 'undone:' .. as_text(count), undone) end
  end
end
local last
for number = math.max(1, count - kept + 1), count do
  local field = as_text(number)
  local id = id_of(redis.call('HGET', operations_key, field) or '')
  if id then
    -- An id that was done twice is that of the first.
    if redis.call('HEXISTS', ids_key, id) == 0 then redis.call('HSET', ids_key, id, field) end
    last = field .. ' ' .. id
  end
end
put(meta_key, 'operation_kept', last or '')
put(meta_key, 'operation_lengths', last and string.match(last, '^%d+ ') .. operation_lengths(operations_key, ids_key) or '')
redis.call('HSET', meta_key, 'operation_count', as_text(count), 'operation_epoch', store_epoch or token,
  'operations_published', as_text(newest))
if recovers then redis.call('HDEL', meta_key, 'operation_claim') end
return restored
