-- Records that are about to be emitted, because the process dies again and again. One batch at a time in the app.
-- KEYS  {app}:trying
-- ARGV  owner, partition ('': nothing of this owner is out any more), first offset, how many
-- Returns 1 if they may go, 0 if records of another task are out.
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'partition', ARGV[2], 'offset', ARGV[3], 'records', ARGV[4])
end
return 1
