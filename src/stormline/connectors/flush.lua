-- One atomic write of a slot (keys as in load.lua, and <tag>:windows, the index of all windows ever, and <tag>:late,
-- the latest late records by number modulo the kept ones). All values are absolute: writing them twice changes nothing.
-- KEYS[1]  the slot's tag
-- ARGV     owner, seq, floor, included, wm, late count, then
--          n, n times (number, record) of late records, then per window:
--          <name>:<start>, index JSON, '1' if forgotten, n, n times (key, result), m, m times (key, state)
local tag = KEYS[1]
local slot = tag .. ':slot'
local current = redis.call('HMGET', slot, 'owner', 'seq')
if current[1] ~= ARGV[1] then
  return redis.error_reply('FENCED another task owns the slot')
end
if tonumber(ARGV[2]) <= tonumber(current[2] or '0') then
  return 0
end
local at = 7
local function write(key)
  local count = tonumber(ARGV[at]) * 2
  local first, last = at + 1, at + count
  while first <= last do
    local stop = math.min(first + 3999, last)
    redis.call('HSET', key, unpack(ARGV, first, stop))
    first = stop + 1
  end
  at = last + 1
end
write(tag .. ':late')
while at <= #ARGV do
  local window, entry, forgotten = ARGV[at], ARGV[at + 1], ARGV[at + 2] == '1'
  at = at + 3
  write(tag .. ':w:' .. window)
  write(tag .. ':s:' .. window)
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
