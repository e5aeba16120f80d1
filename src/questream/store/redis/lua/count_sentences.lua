-- Add to the counts of sentences in mails: `SentenceCounts.added` of preparing/repeated.py.
-- KEYS: 1 meta, 2 sentences
-- ARGV: 1 mails, 2 most sentences that are counted, 3 mails at which all counts are halved, then for each sentence its
--       digest and how much is added
-- Replies: the fields of sentences and their values in turn, none where the namespace is in no store epoch
local meta_key, sentences_key = KEYS[1], KEYS[2]
local most_sentences, most_mails = tonumber(ARGV[2]), tonumber(ARGV[3])
if not current_store_epoch(meta_key) then return {} end
if is_other('HGET', sentences_key, 'mails') then redis.call('DEL', sentences_key) end
local counts = {}
local fields = redis.call('HGETALL', sentences_key)
for i = 1, #fields, 2 do
  if is_number(fields[i + 1]) then counts[fields[i]] = tonumber(fields[i + 1]) end
end
local mails = (counts.mails or 0) + tonumber(ARGV[1])
counts.mails = nil
for i = 4, #ARGV, 2 do counts[ARGV[i]] = (counts[ARGV[i]] or 0) + tonumber(ARGV[i + 1]) end
if mails >= most_mails then
  mails = math.floor(mails / 2)
  for digest, count in pairs(counts) do counts[digest] = math.floor(count / 2) end
end
local found = {}
for _, count in pairs(counts) do
  if count > 0 then found[#found + 1] = count end
end
table.sort(found)
local taken = found[#found - most_sentences] or 0
local kept = {'mails', as_text(mails)}
for digest, count in pairs(counts) do
  if count > taken then
    kept[#kept + 1] = digest
    kept[#kept + 1] = as_text(count - taken)
  end
end
redis.call('DEL', sentences_key)
redis.call('HSET', sentences_key, unpack(kept))
return kept
