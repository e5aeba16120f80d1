-- What stands, after store epoch.lua, before every script that moves the log.
-- What does not hold of the namespace, or nil; asked before anything is written, since Redis undoes nothing. `meta` is
-- {seq, next, mean_questions, live, live_seq}: so many clusters were in the index at that seq.
local function damage(meta, log_key, index_key)
  local found = log_damage(meta, log_key)
  if found then return found end
  local live = redis.call('ZCARD', index_key)
  -- A worker of an earlier release moves seq and does not count.
  if meta[5] == meta[1] and live ~= tonumber(meta[4]) then return 'the index has not the clusters that it had' end
end

local function count_live(meta_key, index_key, seq)
  redis.call('HSET', meta_key, 'live', redis.call('ZCARD', index_key), 'live_seq', string.format('%.0f', seq))
end
