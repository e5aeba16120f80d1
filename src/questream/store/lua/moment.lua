-- What time it is where the namespace lives.
-- KEYS: 1 meta
-- Replies: ms since the epoch
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
