-- Let new namespaces begin as long as there are fewer than the limit. All workers of a Redis ask this, so that together
-- they keep to it.
-- KEYS: 1 set of all namespaces
-- ARGV: 1 limit, 2.. names
-- Replies: {name, ...} of those that may not begin; all others are in the set from here on
local namespaces_key, limit = KEYS[1], tonumber(ARGV[1])
local refused = {}
for i = 2, #ARGV do
  local name = ARGV[i]
  if redis.call('SISMEMBER', namespaces_key, name) == 0 then
    if redis.call('SCARD', namespaces_key) < limit then
      redis.call('SADD', namespaces_key, name)
    else
      refused[#refused + 1] = name
    end
  end
end
return refused
