-- Which of the commands that scripts call this user may not run. A right that is missing in the middle of a script would
-- leave half of a commit behind: Redis undoes nothing.
-- KEYS: 1 a key that does not exist; it is there for the length of this script
-- ARGV: names of commands, each of which is below; tried in the order below
-- Replies: {name, ...} of those that are denied; an error where Redis takes no writes now
local TRIED = {
  {'TIME'}, {'INFO', 'server'},
  {'HSET', KEYS[1], 'a', '1'}, {'HINCRBY', KEYS[1], 'a', 1}, {'HGET', KEYS[1], 'a'}, {'HMGET', KEYS[1], 'a'},
  {'HEXISTS', KEYS[1], 'a'}, {'HLEN', KEYS[1]}, {'HGETALL', KEYS[1]},
  {'HDEL', KEYS[1], 'a'},
  {'ZADD', KEYS[1], 0, '1'}, {'ZSCORE', KEYS[1], '1'}, {'ZCARD', KEYS[1]}, {'ZRANGE', KEYS[1], 0, -1},
  {'ZREM', KEYS[1], '1'},
  {'RPUSH', KEYS[1], '1'}, {'LLEN', KEYS[1]}, {'LINDEX', KEYS[1], 0}, {'LRANGE', KEYS[1], 0, -1}, {'LPOP', KEYS[1]},
  -- A stream that has lost its last entry stays; one that is not made does not.
  {'XADD', KEYS[1], 'NOMKSTREAM', '1-1', 'a', '1'}, {'XRANGE', KEYS[1], '-', '+'}, {'XTRIM', KEYS[1], 'MAXLEN', 0},
  {'SADD', KEYS[1], '1'}, {'SISMEMBER', KEYS[1], '1'}, {'SCARD', KEYS[1]},
  -- Whatever a denied command left there goes.
  {'EXPIRE', KEYS[1], 60}, {'DEL', KEYS[1]},
}
local wanted, denied, seen = {}, {}, 0
for _, name in ipairs(ARGV) do wanted[name] = true end
for _, command in ipairs(TRIED) do
  if wanted[command[1]] then
    seen = seen + 1
    local reply = redis.pcall(unpack(command))
    local text = type(reply) == 'table' and reply.err or ''
    -- Redis 7.0 and older say the first or the second, newer ones and Valkey the third.
    if text:find('NOPERM') or text:find('user executing the script') or text:find('ACL failure') then
      denied[#denied + 1] = command[1]
    elseif text ~= '' and not text:find('WRONGTYPE') then
      -- No room, a replica: rights cannot be found out, and nothing could be written.
      return reply
    end
  end
end
if seen < #ARGV then return redis.error_reply('ERR rights.lua knows no way to try one of ' .. table.concat(ARGV, ' ')) end
return denied
