-- One atomic write of a slot (keys as in load.lua, and <tag>:windows, the index of all windows with results, <tag>:late,
-- the latest late records by number modulo the kept ones, and <tag>:expiry, done windows by the time until which they
-- are kept). All values are absolute: writing them twice changes nothing.
-- KEYS[1]  the slot's tag
-- ARGV     owner, seq, floor, included, wm, late count, next output, now, how long done windows are kept (''  = for
--          ever), and what changed, as msgpack:
--          [late records: number, record, …], [outputs: number, output, …], [numbers of delivered outputs],
--          [window: [<name>:<id>, index JSON, stage, [key, result, …], [key, state, …], [removed key, …]], …]
--          stage: live, inner (live and not in the index), done (only results stay), gone
local tag = KEYS[1]
local slot = tag .. ':slot'
local current = redis.call('HMGET', slot, 'owner', 'seq')
if current[1] ~= ARGV[1] then
  return redis.error_reply('FENCED another task owns the slot')
end
if tonumber(ARGV[2]) <= tonumber(current[2] or '0') then
  return 0
end
local now, keep = ARGV[8], ARGV[9]
local function each(command, key, values)
  for first = 1, #values, 4000 do
    redis.call(command, key, unpack(values, first, math.min(first + 3999, #values)))
  end
end
local function forget(window)
  redis.call('HDEL', tag .. ':windows', window)
  redis.call('ZREM', tag .. ':expiry', window)
  redis.call('UNLINK', tag .. ':w:' .. window, tag .. ':s:' .. window)
end
local late, outputs, delivered, windows = unpack(cmsgpack.unpack(ARGV[10]))
each('HSET', tag .. ':late', late)
each('HSET', tag .. ':outputs', outputs)
each('HDEL', tag .. ':outputs', delivered)
for _, changed in ipairs(windows) do
  local window, entry, stage, results, states, removed = unpack(changed)
  if stage == 'gone' then
    redis.call('HDEL', tag .. ':live', window)
    forget(window)
  else
    each('HSET', tag .. ':w:' .. window, results)
    each('HSET', tag .. ':s:' .. window, states)
    each('HDEL', tag .. ':w:' .. window, removed)
    each('HDEL', tag .. ':s:' .. window, removed)
    if stage ~= 'inner' then
      redis.call('HSET', tag .. ':windows', window, entry)
    end
    if stage == 'done' then
      redis.call('HDEL', tag .. ':live', window)
      redis.call('UNLINK', tag .. ':s:' .. window)
      if keep ~= '' then
        redis.call('PEXPIRE', tag .. ':w:' .. window, keep)
        redis.call('ZADD', tag .. ':expiry', tonumber(now) + tonumber(keep), window)
      end
    else
      redis.call('HSET', tag .. ':live', window, entry)
    end
  end
end
if keep ~= '' then
  local over = redis.call('ZRANGEBYSCORE', tag .. ':expiry', '-inf', now, 'LIMIT', 0, 1000)
  for _, window in ipairs(over) do
    redis.call('HDEL', tag .. ':live', window)
    forget(window)
  end
end
redis.call('HSET', slot, 'seq', ARGV[2], 'floor', ARGV[3], 'included', ARGV[4], 'wm', ARGV[5], 'late', ARGV[6],
  'out', ARGV[7])
return 1
