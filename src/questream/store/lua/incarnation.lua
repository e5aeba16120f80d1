-- What stands before every script that decides, publishes or settles.
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

-- The incarnation under which the namespace was last compared with the cluster topic; false where that was never, or in
-- another process: one that was restarted, failed over to, emptied or restored may have forgotten what was published.
local function standing_incarnation(meta_key)
  return current(meta_key, 'incarnation')
end

local function unsettled()
  return redis.error_reply('UNSETTLED the namespace has to be compared with the cluster topic first')
end
