-- Compare the operations with what was published of them: what the store lacks is put back.
-- KEYS: 1 meta, 2 operations, 3 operation_ids
-- ARGV: 1 token of the claim or of a recovery, 2 number of the last published one, 3 how many operations stay,
--       4 JSON [[number, id, undoes or 0] * N], oldest first, then N texts as they are kept
-- Replies: how many were put back; 0 where claim and recovery are another's
local meta_key, operations_key, ids_key = KEYS[1], KEYS[2], KEYS[3]
local token, newest, kept = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local store_epoch = current_store_epoch(meta_key)
local holder = string.match(redis.call('HGET', meta_key, 'operation_claim') or '', '^(%S+) ')
local recovers = not store_epoch and current(meta_key, 'settling') == token
if not recovers and not (store_epoch and holder == token) then return 0 end
for _, key in ipairs({operations_key, ids_key}) do
  if is_other('HLEN', key) then redis.call('DEL', key) end
end
local known_count = tonumber(redis.call('HGET', meta_key, 'operation_count') or 0) or 0
local count, restored = math.max(known_count, newest), 0
for i, operation in ipairs(cjson.decode(ARGV[4])) do
  local number, id, undoes = unpack(operation)
  local field = as_text(number)
  if number > count - kept and redis.call('HEXISTS', operations_key, field) == 0 then
    redis.call('HSET', operations_key, field, ARGV[4 + i])
    if redis.call('HEXISTS', ids_key, id) == 0 then redis.call('HSET', ids_key, id, field) end
    if undoes ~= 0 then redis.call('HSET', operations_key, 'undone:' .. as_text(undoes), field) end
    restored = restored + 1
  end
end
redis.call('HSET', meta_key, 'operation_count', as_text(count), 'operation_epoch', store_epoch or token,
  'operations_published', as_text(newest))
if recovers then redis.call('HDEL', meta_key, 'operation_claim') end
return restored
