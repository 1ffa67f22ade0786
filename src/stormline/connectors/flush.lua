-- One atomic write of a slot (keys as in load.lua, and <tag>:windows, the index of all windows ever, and <tag>:late,
-- the latest late records by number modulo the kept ones). All values are absolute: writing them twice changes nothing.
-- KEYS[1]  the slot's tag
-- ARGV     owner, seq, floor, included, wm, late count, and what changed, as msgpack:
--          [late records: number, record, …], [window: [<name>:<start>, index JSON, forgotten, [key, result, …],
--          [key, state, …]], …]
local tag = KEYS[1]
local slot = tag .. ':slot'
local current = redis.call('HMGET', slot, 'owner', 'seq')
if current[1] ~= ARGV[1] then
  return redis.error_reply('FENCED another task owns the slot')
end
if tonumber(ARGV[2]) <= tonumber(current[2] or '0') then
  return 0
end
local function write(key, fields)
  for first = 1, #fields, 4000 do
    redis.call('HSET', key, unpack(fields, first, math.min(first + 3999, #fields)))
  end
end
local late, windows = unpack(cmsgpack.unpack(ARGV[7]))
write(tag .. ':late', late)
for _, changed in ipairs(windows) do
  local window, entry, forgotten, results, states = unpack(changed)
  write(tag .. ':w:' .. window, results)
  write(tag .. ':s:' .. window, states)
  redis.call('HSET', tag .. ':windows', window, entry)
  if forgotten then
    redis.call('HDEL', tag .. ':live', window)
    redis.call('DEL', tag .. ':s:' .. window)
  else
    redis.call('HSET', tag .. ':live', window, entry)
  end
end
redis.call('HSET', slot, 'seq', ARGV[2], 'floor', ARGV[3], 'included', ARGV[4], 'wm', ARGV[5], 'late', ARGV[6])
return 1
