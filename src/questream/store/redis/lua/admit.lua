-- Let new namespaces begin as long as there are fewer than the limit. All workers of a Redis ask this, so that together
-- they keep to it.
-- KEYS: 1 set of all namespaces
-- ARGV: 1 limit, 2.. names
-- Replies: {name, ...} of those that may not begin; all others are in the set from here on
local refused = {}
for i = 2, #ARGV do
  if redis.call('SISMEMBER', KEYS[1], ARGV[i]) == 0 then
    if redis.call('SCARD', KEYS[1]) < tonumber(ARGV[1]) then
      redis.call('SADD', KEYS[1], ARGV[i])
    else
      refused[#refused + 1] = ARGV[i]
    end
  end
end
return refused
