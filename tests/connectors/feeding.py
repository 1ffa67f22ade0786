"""A feed in a process of its own, to be killed: python feeding.py SOURCE BROKERS FILE TOPIC; a line for each batch."""

import sys

sys.path.insert(0, sys.argv[1])

from pathlib import Path  # noqa: E402

from stormline.connectors.brokers import Brokers  # noqa: E402
from stormline.connectors.feed import Feed  # noqa: E402
from stormline.connectors.feed_file import CsvFile  # noqa: E402
from stormline.connectors.feed_settings import FeedSettings  # noqa: E402

_, _, brokers, file, topic = sys.argv
settings = FeedSettings(topic, CsvFile(Path(file), key="user_id", event_time="date"), partitions=4)


def tell(there: int, rows: int) -> None:
    sys.stdout.write(f"{there} of {rows}\n")
    sys.stdout.flush()


Feed(Brokers(brokers), settings, rate=8_000).run(tell)
