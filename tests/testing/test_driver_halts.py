"""Redis has lost its data, or the app is halted: nothing is counted until that is over."""

from driver_parts import counts, driver, reading


def test_redis_without_its_data_halts_what_runs() -> None:
    """
    Once the data is gone nothing is counted, acked or committed any more, in this run or in the next.
    """
    tried = driver()
    tried.send(reading(1))
    tried.advance("2s")
    tried.lose_redis_data()
    tried.send(reading(2))
    tried.advance("5s")
    assert "lost the run marker" in str(tried.status()["bolt"][0].trouble)
    assert ([], 1, {"input/0": 1}) == (tried.results(), tried.acked, tried.committed)

    tried.crash()
    tried.advance("5s")
    assert "Redis has lost data" in str(tried.status()["input"][0].trouble)
    assert ([], 0, {"input/0": 1}) == (tried.results(), tried.acked, tried.committed)


def test_lost_redis_data_halts_the_spout() -> None:
    """
    A Redis that knows less than Kafka has committed is noticed at the start: nothing goes on with holes.
    """
    tried = driver()
    tried.send(reading(1))
    tried.advance("3s")
    tried.store.commits.clear()
    tried.crash()
    tried.send(reading(2))
    tried.advance("3s")

    assert "Redis has lost data" in str(tried.status()["input"][0].trouble)
    assert {"input/0": 1} == tried.committed


def test_a_halt_stops_all_tasks_until_it_is_cleared() -> None:
    """
    While the app is halted nothing is counted, whatever is emitted again; once it is cleared all goes on by itself.
    """
    tried = driver()
    tried.send(reading(1))
    tried.advance("3s")
    tried.store.halted = "by hand"
    tried.kill("bolt")
    tried.send(reading(2))
    tried.advance("60s")
    told = {str(tried.status()[name][0].trouble) for name in ("input", "bolt")}
    assert ({"halted: by hand"}, {"input/0": 1}) == (told, tried.committed)

    tried.store.halted = None
    tried.advance("60s")
    assert ({0: ("open", 0, 2)}, {"input/0": 2}) == (counts(tried), tried.committed)
