"""A feed in a process of its own, to be killed: python feeding.py SOURCE BROKERS FILE TOPIC. One line for each batch."""

import sys

sys.path.insert(0, sys.argv[1])

from pathlib import Path  # noqa: E402

from stormline.connectors.feed import Feed, FeedSettings  # noqa: E402

_, _, brokers, file, topic = sys.argv
settings = FeedSettings(topic, Path(file), key="user_id", event_time="date", partitions=4)
fed = Feed(brokers, settings).run(lambda there, rows: print(there, flush=True))
print("fed", fed.rows, fed.sent, flush=True)
