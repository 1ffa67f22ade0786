-- Take a slot over: become its owner and read all of it, in one step, so that no earlier owner can write in between.
-- KEYS[1]  {app:component:slot}, the hash tag and prefix of all keys of the slot:
--   <tag>:slot     owner, run, seq, floor, included, wm, late, out (number of the next output)
--   <tag>:live     windows that may still change:  <name>:<id> -> JSON {start, end, state, revision}
--   <tag>:w:<name>:<id>   key -> JSON of the result
--   <tag>:s:<name>:<id>   key -> JSON of the accumulators, where the result does not determine them
--   <tag>:outputs  number -> what was to be sent and is not known to have arrived
-- ARGV     owner token, run number, '1' if only the present owner may load (again, after a restart of Redis)
local tag = KEYS[1]
local slot = tag .. ':slot'
local run = tonumber(redis.call('HGET', slot, 'run') or '0')
if run > tonumber(ARGV[2]) then
  return redis.error_reply('OLDRUN run ' .. run .. ' of this app owns the slot')
end
if ARGV[3] == '1' and redis.call('HGET', slot, 'owner') ~= ARGV[1] then
  return redis.error_reply('FENCED another task owns the slot')
end
redis.call('HSET', slot, 'owner', ARGV[1], 'run', ARGV[2])
local live = redis.call('HGETALL', tag .. ':live')
local contents = {}
for i = 1, #live, 2 do
  contents[#contents + 1] = redis.call('HGETALL', tag .. ':w:' .. live[i])
  contents[#contents + 1] = redis.call('HGETALL', tag .. ':s:' .. live[i])
end
local outputs = redis.call('HGETALL', tag .. ':outputs')
return {redis.call('HMGET', slot, 'seq', 'floor', 'included', 'wm', 'late', 'out'), live, contents, outputs}
