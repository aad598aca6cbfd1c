"""Scripts with one fault each. The machine must find every one: a check that passes them all checks nothing."""

from __future__ import annotations

from tests.chaos.model.setting import Change

MUTANTS: dict[str, Change] = {
    "settle without the fence": (
        "settle",
        "elseif string.sub(record, 2, #fence + 1) ~= fence then",
        "elseif false then",
    ),
    "settle of what has ended": ("settle", "elseif string.sub(record, 1, 1) ~= 'r' or seen", "elseif seen"),
    "settle that keeps the hold": ("settle", "redis.call('HDEL', HELD, unpack(fields))", ""),
    "settle that gives a batch back in the wrong order": (
        "settle",
        "for y = #todo, 1, -1 do",
        "for y = 1, #todo do",
    ),
    "settle that counts no failure": ("settle", "(f + 1)", "f"),
    "settle that tells nobody": ("settle", "if waited then tell(id, record) end", ""),
    "claim without a lease": (
        "claim",
        "if type(lease) ~= 'string' or tonumber(lease) <= now then",
        "if false then",
    ),
    "claim of a lower seq": ("claim", "if seq < last then return { 'stale' } end", ""),
    "claim that takes a repeat for a new one": ("claim", "if seq == last then", "if false then"),
    "claim that starts too early": (
        "claim",
        "'-inf', int(now), 'BYSCORE'",
        "'-inf', int(now + 60000), 'BYSCORE'",
    ),
    "claim that lets the expiry stand": ("claim", "redis.pcall('ZREM', AGENDA, 'x:' .. id)", "local _"),
    "claim of a paused queue": (
        "claim",
        "if is_paused(redis.pcall('HGET', P .. 'queues', queue)) then",
        "if false then",
    ),
    "claim of a careful task beside others": ("claim", "if given + #good > 0 then taken = x - 1 else", "do"),
    "claim out of order": (
        "claim",
        "redis.call('LRANGE', list, 0, share - 1)",
        "redis.call('LRANGE', list, -share, -1)",
    ),
    "claim that forgets tombstones": ("claim", "redis.call('PEXPIRE', names[x], 600000)", "local _"),
    "claim that wakes nobody for the rest": ("claim", "wake(left, 'on')", ""),
    "enqueue twice in one call": ("enqueue", "if seen[id] or (not fresh", "if (not fresh"),
    "enqueue of what is known": (
        "enqueue",
        "(not fresh and redis.call('EXISTS', P .. 't:' .. id",
        "(not fresh and redis.call('EXISTS', P .. 'b:' .. id",
    ),
    "enqueue after its time": ("enqueue", "elseif late and not user_given then", "elseif false then"),
    "enqueue that looks at no key": ("enqueue", "elseif holder then", "elseif false then"),
    "enqueue into a full queue": ("enqueue", "queue.ready >= queue.most then", "false then"),
    "enqueue that turns a batch round": ("enqueue", "for x = #ids, 1, -1 do", "for x = 1, #ids do"),
    "reap of the living": ("reap", "beats ~= ARGV[2] then return -1 end", "false then return -1 end"),
    "reap that charges everyone": ("reap", "started == '1' and not gone and c + 1 or c", "c + 1"),
    "reap that leaves the lease": ("reap", "redis.pcall('ZREM', P .. 'procs', process)", ""),
    "reap that charges no owner": (
        "reap",
        "give_back(task.id, task.g, '',",
        "give_back(task.id, task.g, process,",
    ),
    "cancel that leaves the agenda": ("cancel", "redis.pcall('ZREM', AGENDA, 't:' .. id)", "local _"),
    "cancel that leaves no tombstone": ("cancel", "not listed and ttl or nil", "ttl"),
    "an end that forgets the key": ("ending", "redis.call('UNLINK', P .. 'u:' .. extra[1])", "local _"),
    "a return that forgets who cancelled": (
        "ending",
        "if end_cancelled(id, g, owner, flags) then return end",
        "",
    ),
    "a return to the back": (
        "ending",
        "redis.pcall('LPUSH', P .. 'q:' .. list, id)",
        "redis.pcall('RPUSH', P .. 'q:' .. list, id)",
    ),
    "a return that wakes nobody": (
        "ending",
        "expire_again(id, flags)\n  wake(queue_of(list))",
        "expire_again(id, flags)",
    ),
    "park that keeps the hold": ("park", "redis.pcall('HDEL', P .. 'held:' .. process, id)", ""),
    "register that forgets one": (
        "register",
        "if #ids > 0 then redis.call('SREM', parked, unpack(ids)) end",
        "",
    ),
    "purge of what is no longer ready": (
        "purge",
        "elseif string.find(record, '^[SFCE]|') then",
        "elseif false then",
    ),
    "discard that leaves the record": (
        "discard",
        "if still_dead(id) then redis.call('UNLINK'",
        "if false then redis.call('UNLINK'",
    ),
    "requeue that leaves the dead letter": (
        "requeue",
        "redis.pcall('ZREM', P .. 'dead:' .. ARGV[2], old)",
        "",
    ),
    "start of another's task": ("start", "if g ~= ARGV[3] then return 0 end", ""),
    "beat of who was reaped": ("beat", "'XX', int(now + lease), process)", "int(now), process)"),
}
