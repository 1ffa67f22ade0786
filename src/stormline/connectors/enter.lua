-- A spout task's first word. Offsets are written here before they are committed to Kafka, so if Kafka has committed more
-- than is known here, Redis has lost data: the app halts instead of going on with holes.
-- KEYS  {app}:commits  {app}:partitions  {app}:halt  {app}:run  {app}:starts  {app}:skips  {app}:trying  {app}:blamed
--       {app}:begun
-- ARGV  spout, partition count, 1 if its topics are those that a pattern matches, how many topics there are, topic and how
--       many partitions it has in turn, how many partitions the task has, their names, how many of them have something to
--       read, their names, then partition and committed offset in turn
-- Returns how often in a row these were begun without getting on, the records to pass over, how many partitions each topic
-- had when the app began with it, and the offset that is known here of each partition of the task.
local halted = redis.call('GET', KEYS[3])
if halted then
  return redis.error_reply('HALTED ' .. halted)
end
if redis.call('EXISTS', KEYS[4]) == 0 then
  return redis.error_reply('HALTED Redis has lost the run marker of this app')
end
local topics = tonumber(ARGV[4])
local first = 6 + 2 * topics -- the first name of a partition
local names = tonumber(ARGV[first - 1])
local own = {} -- topic -> <topic>:<id>
for i = first, first - 1 + names do
  local topic = string.match(ARGV[i], '^([^:]*):')
  if topic then
    own[topic] = string.match(ARGV[i], '^(.*)/')
  end
end
if next(own) then
  for _, known in ipairs(redis.call('HKEYS', KEYS[1])) do
    local topic = string.match(known, '^([^:]*):')
    if topic and own[topic] and string.match(known, '^(.*)/') ~= own[topic] then
      local why = 'topic ' .. topic .. ' was deleted and made anew: what is counted comes from ' .. known .. ', which is gone'
        .. '. Begin anew with --fresh, or under another name'
      redis.call('SET', KEYS[3], why)
      return redis.error_reply('HALTED ' .. why)
    end
  end
end
local behind = tonumber(ARGV[first + names])
for i = first + 1 + names + behind, #ARGV, 2 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  if not known or tonumber(known) < tonumber(ARGV[i + 1]) then
    local why = 'Kafka has committed offset ' .. ARGV[i + 1] .. ' of ' .. ARGV[i] .. ', Redis knows of ' .. (known or 'none')
      .. ': Redis has lost data'
    redis.call('SET', KEYS[3], why)
    return redis.error_reply('HALTED ' .. why)
  end
end
local count = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
redis.call('HSET', KEYS[2], ARGV[1], math.max(count, tonumber(ARGV[2])))
local trying = redis.call('HGET', KEYS[7], 'partition')
for i = first, first - 1 + names do
  if trying == ARGV[i] then -- it was out, and the task that had emitted it is gone
    if redis.call('HGET', KEYS[7], 'records') == '1' then
      redis.call('HINCRBY', KEYS[8], trying .. '/' .. redis.call('HGET', KEYS[7], 'offset'), 1)
    end
    redis.call('DEL', KEYS[7])
  end
end
local starts = {}
for i = first + 1 + names, first + names + behind do
  starts[#starts + 1] = redis.call('HINCRBY', KEYS[5], ARGV[i], 1)
end
local counts = {}
local younger = ARGV[3] == '1' and count > 0 -- a topic nobody knew: it has come since the spout began
for i = 5, 3 + 2 * topics, 2 do
  redis.call('HSETNX', KEYS[9], ARGV[i], younger and 0 or ARGV[i + 1])
  counts[#counts + 1] = redis.call('HGET', KEYS[9], ARGV[i])
end
local known = {}
for i = first, first - 1 + names do
  known[#known + 1] = redis.call('HGET', KEYS[1], ARGV[i])
end
return {starts, redis.call('HKEYS', KEYS[6]), counts, known}
