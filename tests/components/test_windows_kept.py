"""What windows leave in the store: as long as is said, and no more for a longer stream."""

from typing import Any

import pytest
from window_parts import Sale, driver, feed, shown

from stormline import Count, Max, count_window, session, sliding, tumbling


def test_results_are_kept_as_long_as_is_said() -> None:
    """
    A window that has been done for so long is gone at the next flush of its slot.
    """
    tried = driver(tumbling("10ms"), keep="1h")
    feed(tried, 1, 200)
    tried.advance("2h")
    feed(tried, 210)
    assert [200, 210] == [row[0] for row in shown(tried)]


@pytest.mark.parametrize("window", [tumbling("10ms"), sliding("10ms", "5ms"), session("5ms"), count_window(2)])
def test_a_window_without_an_alert_leaves_nothing(window: Any) -> None:
    """
    Not an entry in the index either: most windows have none. That of the alert stays.
    """
    tried = driver(
        window, aggregate={"most": Max("amount"), "n": Count()}, trigger=lambda self, result: result.most > 99
    )
    for at in range(0, 4000, 5):
        tried.send(Sale(at, 100 if at == 2000 else 1, f"user {at % 3}"), run=False)
    tried.end()
    left = [place for slot in tried.store.slots.values() for place in slot.windows if not place[0].endswith("#panes")]
    alerts = {("sliding-10ms-5ms"): 2}.get(window.name, 1)
    assert alerts == len(tried.results())
    assert len(left) <= alerts + 3, left


def test_state_is_flat_in_the_length_of_the_stream() -> None:
    """
    With `keep`, a thousand windows leave no more in the store than a few.
    """
    for window in (tumbling("10ms"), sliding("10ms", "5ms"), session("5ms")):
        tried = driver(window, keep="1s")
        sizes = []
        for start in range(0, 4000, 1000):
            for at in range(start, start + 1000, 20):
                tried.send(Sale(at))
            tried.advance("5s")
            tried.send(Sale(start + 1000))
            tried.advance("5s")
            sizes.append(sum(len(slot.windows) for slot in tried.store.slots.values()))
        assert max(sizes[1:]) <= sizes[0] + 3, (window.name, sizes)
