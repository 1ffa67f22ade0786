-- A record that is about to be emitted alone, because the process dies again and again. One at a time in the app.
-- KEYS  {app}:trying
-- ARGV  owner, partition ('': nothing of this owner is out any more), offset
-- Returns 1 if it may go, 0 if a record of another task is out.
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'partition', ARGV[2], 'offset', ARGV[3])
end
return 1
