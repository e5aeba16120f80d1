-- What stands before every script that decides or settles.
-- The incarnation under which the namespace was last compared with the cluster topic, `<run id>:<nonce>`; false where
-- that was in another process of Redis or never: one that was restarted, failed over to, emptied or restored may have
-- forgotten what was published.
local function standing_incarnation(meta_key)
  local settled = redis.call('HGET', meta_key, 'incarnation')
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  return settled and string.match(settled, '^(%x+):') == run_id and settled
end

local function unsettled()
  return redis.error_reply('UNSETTLED the namespace has to be compared with the cluster topic first')
end
