-- Delete keys of a namespace that is held, and with the last of them all fields of its config. The next cluster's and the
-- last operation's number stay, so that none is given twice if the namespace begins anew, and so does its home.
-- KEYS: 1 meta, then keys that go
-- ARGV: 1 token of the hold, 2 fields of meta that stay, as JSON, once these are the last keys; '' before,
--       3 number of the operation that deletes, 0 for none
-- Replies: 0 where somebody else has begun to recover the namespace, or its memory is another by now, else 1
local meta_key, token, staying, operation = KEYS[1], unpack(ARGV)
if current_store_epoch(meta_key) or current(meta_key, 'settling') ~= token then return 0 end
for i = 2, #KEYS do redis.call('DEL', KEYS[i]) end
if staying == '' then return 1 end
local kept = {}
for _, field in ipairs(cjson.decode(staying)) do
  local value = redis.call('HGET', meta_key, field)
  if value then kept[#kept + 1] = {field, value} end
end
redis.call('DEL', meta_key)
for _, field in ipairs(kept) do redis.call('HSET', meta_key, field[1], field[2]) end
if tonumber(operation) > 0 then raise_operation_count(meta_key, tonumber(operation)) end
return 1
