"""Makes trades: always the same for the same number and seed. A feed of config.json calls `rows`.

Users follow Zipf's law over 10,000 of them. Amounts run from 0.01 to 730.46, small ones are the most common, and 63 %
are 100.00 or more. A million of them take one day, and stand out of order by less than 5 s. Fewer of them are the first
of more. Only sums, products and quotients are computed, never a logarithm, so they are the same on every machine.
"""

from collections.abc import Iterator
from itertools import accumulate
from random import Random

USERS = 10_000
START_MS = 1_736_121_600_000
"""2025-01-06T00:00:00Z"""
EVERY_US = 86_394
OUT_OF_ORDER_MS = 5_000
SPREAD_CENTS = 73_046
"""The cents are this times the square of a number drawn evenly from 0 to 1: above 0.37 they are 10,000 or more."""
CHUNK = 10_000


def rows(records: int, seed: int) -> Iterator[tuple[bytes, bytes, int]]:
    """(key, JSON value, time in ms since the epoch) of each trade; the key is the user's id."""
    random = Random(seed)
    ids = range(1, USERS + 1)
    weights = list(accumulate(1 / rank for rank in ids))
    # The most active users are not those with the smallest ids.
    random.shuffle(shuffled := list(ids))
    users = [(b"%d" % user, user) for user in shuffled]
    draw = random.random
    for first in range(0, records, CHUNK):
        chosen = random.choices(users, cum_weights=weights, k=CHUNK)
        for number, (key, user) in zip(range(first, min(first + CHUNK, records)), chosen, strict=False):
            time_ms = START_MS + number * EVERY_US // 1_000 + OUT_OF_ORDER_MS - int(draw() * OUT_OF_ORDER_MS)
            even = draw()
            cents = 1 + int(even * even * SPREAD_CENTS)
            value = b'{"id":%d,"time":%d,"user_id":%d,"amount":%d.%02d}'
            yield key, value % (number + 1, time_ms, user, cents // 100, cents % 100), time_ms
