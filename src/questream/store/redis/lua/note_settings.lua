-- Note by which settings a worker runs a namespace, and answer which others are in use. Kept by their digest, with the
-- worker that noted them last; the oldest go where there are more than 16.
-- KEYS: 1 meta
-- ARGV: 1 worker, or '' to note nothing, 2 digest, 3 the settings, 4 ms after which settings that nobody noted are out
--       of use
-- Replies: {{worker, settings} * N} of the settings in use with another digest; none of a namespace that is not there
local meta_key, worker, own_digest, own_settings, gone_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('HEXISTS', meta_key, 'model') == 0 then return {} end
-- A copy that was restored under running workers is not made younger by them (recovery/age.py).
if redis.call('HEXISTS', meta_key, 'incarnation') == 1 and not current_store_epoch(meta_key) then worker = '' end
local now_ms = time_ms()
local is_read, noted = pcall(cjson.decode, redis.call('HGET', meta_key, 'settings') or '{}')
local used = {}
for digest, note in pairs(is_read and type(noted) == 'table' and noted or {}) do
  if type(note) == 'table' and tonumber(note[1]) and math.abs(now_ms - note[1]) <= gone_ms then
    used[#used + 1] = {digest, tonumber(note[1]), tostring(note[2]), tostring(note[3])}
  end
end
table.sort(used, function(a, b) return a[2] > b[2] end)
local kept, others = {}, {}
for at, note in ipairs(used) do
  if at <= 15 and note[1] ~= own_digest then
    kept[note[1]] = {note[2], note[3], note[4]}
    others[#others + 1] = {note[3], note[4]}
  end
end
if worker ~= '' then
  kept[own_digest] = {now_ms, worker, own_settings}
  redis.call('HSET', meta_key, 'settings', cjson.encode(kept))
end
return others
