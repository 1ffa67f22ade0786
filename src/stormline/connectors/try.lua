-- A record that is about to be emitted alone, because the process dies again and again; and how many times it was.
-- KEYS  {app}:tries
-- ARGV  partition, offset
local tried = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local offset, times = string.match(tried, '^(%d+) (%d+)$')
times = offset == ARGV[2] and tonumber(times) or 0
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. times + 1)
return 1
