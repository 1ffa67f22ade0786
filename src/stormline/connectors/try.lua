-- A record that is about to be emitted alone, because the process dies again and again. Kept is the last one, and how
-- many times it was tried: on the way back to it, from what is committed, those before it are tried again, too.
-- KEYS  {app}:tries
-- ARGV  partition, offset
local offset, times = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%d+) (%d+)$')
local known, now = tonumber(offset or '-1'), tonumber(ARGV[2])
if now == known then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. times + 1)
elseif now > known then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' 1')
end
return 1
