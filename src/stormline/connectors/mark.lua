-- Offsets that are about to be committed to Kafka. If what this spout wrote last is gone or smaller, Redis has lost data.
-- KEYS  {app}:commits  {app}:halt  {app}:starts  {app}:run
-- ARGV  how many partitions have got on since they were begun, their names, then partition, offset, what this spout wrote last (-1: nothing yet), and so on
local halted = redis.call('GET', KEYS[2])
if halted then
  return redis.error_reply('HALTED ' .. halted)
end
local well = tonumber(ARGV[1])
for i = 2 + well, #ARGV, 3 do
  local known = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '-1')
  if known < tonumber(ARGV[i + 2]) then
    local why = 'Redis knows offset ' .. known .. ' of ' .. ARGV[i] .. ', but ' .. ARGV[i + 2] .. ' was written: Redis has lost data'
    redis.call('SET', KEYS[2], why)
    return redis.error_reply('HALTED ' .. why)
  end
end
if redis.call('EXISTS', KEYS[4]) == 0 then
  return redis.error_reply('HALTED Redis has lost the run marker of this app')
end
for i = 2 + well, #ARGV, 3 do
  if tonumber(ARGV[i + 1]) > tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '-1') then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
for i = 2, 1 + well do
  redis.call('HDEL', KEYS[3], ARGV[i])
end
return 1
