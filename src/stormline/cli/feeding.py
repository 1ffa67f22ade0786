"""The feeds of a run on threads of their own: each into its topic, while the topology reads it from there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stormline.core.errors import ServerError

if TYPE_CHECKING:
    from redis import Redis

    from stormline.connectors.brokers import Brokers
    from stormline.connectors.feed import Fed, Feed
    from stormline.connectors.feed_settings import FeedSettings

TRY_AGAIN_S = 1.0


class Feeding:
    """Feeds all of `feeds` and tells the store where each topic ends, which is what lets a bounded run end.

    `say` gets a line when Kafka or Redis is away; then it goes on as soon as they are back.
    """

    def __init__(
        self,
        feeds: Sequence[FeedSettings],
        client: Redis,
        *,
        brokers: Brokers,
        app: str,
        rate: float | None,
        say: Callable[[str], None],
    ) -> None:
        """`rate`: rows a second of each, at most; None: as many as can be."""
        self._feeds = feeds
        self._rate = rate
        self._client = client
        self._brokers = brokers
        self._app = app
        self._say = say
        self._stopped = threading.Event()
        self._current: dict[str, Feed] = {}
        self._fault: Exception | None = None
        self.fed: list[Fed] = []
        """What is done; complete once `done`."""
        self._threads = [threading.Thread(target=self._run, args=(feed,), daemon=True, name="feed") for feed in feeds]

    def start(self) -> None:
        """Where the inputs end is unknown from now on, until they are fed."""
        from stormline.connectors.redis import set_ends

        for feed in self._feeds:
            set_ends(self._client, self._app, feed.topic, None)
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> bool:
        """All is fed. Raises what ended a feed before its end."""
        if self._fault is not None:
            raise self._fault
        return len(self.fed) == len(self._threads)

    def stop(self) -> None:
        """End soon, and wait for it; the next run goes on from there."""
        self._stopped.set()
        for feed in self._current.values():
            feed.stop()
        for thread in self._threads:
            thread.join(timeout=10)

    def _run(self, settings: FeedSettings) -> None:
        from redis import RedisError

        from stormline.connectors.feed import Feed
        from stormline.connectors.redis import set_ends

        told = False
        while not self._stopped.is_set():
            feed = self._current[settings.topic] = Feed(self._brokers, settings, rate=self._rate)
            try:
                fed = feed.run()
                if self._stopped.is_set():
                    return
                set_ends(self._client, self._app, settings.topic, fed.ends)
            except (ServerError, RedisError) as error:
                if isinstance(error, ServerError) and not error.retriable:
                    self._fault = error
                    return
                if not told:
                    whose = "Redis: " if isinstance(error, RedisError) else ""
                    self._say(f"feed of {settings.topic}: {whose}{error}; trying again")
                    told = True
                self._stopped.wait(TRY_AGAIN_S)
            except Exception as error:  # told by the main thread, which asks `done`
                self._fault = error
                return
            else:
                self.fed.append(fed)
                return
