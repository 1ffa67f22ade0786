"""Keys: what is one, what is none, and where their state goes when the number of tasks changes."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormline import Count, KafkaSpout, Record, SettingsError, Sum, Topology, WindowBolt, sliding, tumbling
from stormline.core.slot import LONGEST_KEY, key_text, key_value
from stormline.testing import Driver


class Sale(Record):
    at: int
    amount: int = 1
    user: str | None = "ann"
    parts: list[int] = []


class PerUser(WindowBolt):
    key = "user"
    window = tumbling("10ms")
    aggregate = {"n": Count(), "amount": Sum("amount")}


class PerUserOrNone(PerUser):
    none_is_key = True


class PerUserAndAmount(PerUser):
    key = ("user", "amount")


class PerLength(PerUser):
    key = lambda sale: "x" * sale.amount  # noqa: E731 - as users write it


class PerParts(PerUser):
    key = lambda sale: sale.parts  # noqa: E731


def driver(bolt: type) -> Driver:
    return Driver(bolt, schema=Sale, event_time="at")


def counts(tried: Driver) -> dict[Any, int]:
    return {tuple(row.key) if isinstance(row.key, list) else row.key: row.values["n"] for row in tried.results()}


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.text(max_size=2), st.decimals(0, 2, places=1)
)


@given(st.tuples(PLAIN, PLAIN), st.tuples(PLAIN, PLAIN))
def test_two_keys_are_one_only_if_they_are_of_one_type_and_value(left: Any, right: Any) -> None:
    """
    1, 1.0, "1" and true are four keys; a text says the same in every process, as nothing of it is hashed by Python.
    """
    same = [type(part) for part in left] == [type(part) for part in right] and repr(left) == repr(right)
    texts = [any(isinstance(part, Decimal) for part in each) for each in (left, right)]
    if not any(texts):  # a Decimal is its text
        assert same == (key_text(left) == key_text(right))


def test_what_a_key_may_be() -> None:
    """
    Plain values and tuples of them; they come back as JSON has them.
    """
    for key, back in ((1, 1), (("a", 2), ["a", 2]), (date(2020, 1, 1), "2020-01-01"), (Decimal("1.50"), "1.50")):
        assert back == key_value(key_text(key))


def test_none_is_refused_or_a_key_by_choice() -> None:
    """
    Without a choice a record without key is a dead letter; with it there is a row for None.
    """
    refusing, taking = driver(PerUser), driver(PerUserOrNone)
    for tried in (refusing, taking):
        tried.send(Sale(1))
        tried.send(Sale(2, user=None))
        tried.advance("1s")
    assert ({"ann": 1}, 1) == (counts(refusing), len(refusing.dead_letters()))
    assert ({"ann": 1, None: 1}, 0) == (counts(taking), len(taking.dead_letters()))


def test_several_fields_are_one_key() -> None:
    """
    A tuple of fields.
    """
    tried = driver(PerUserAndAmount)
    for amount in (1, 2, 1):
        tried.send(Sale(1, amount))
    tried.advance("1s")
    assert {("ann", 1): 2, ("ann", 2): 1} == counts(tried)


@pytest.mark.parametrize(
    ("bolt", "sale", "told"),
    [(PerLength, Sale(1, 1_000_000), "1000002 characters"), (PerParts, Sale(1), "the key is a list")],
)
def test_what_is_no_key_is_a_dead_letter(bolt: type, sale: Sale, told: str) -> None:
    """
    A key of a megabyte, a key that can change: the record is set aside with the reason, the others count.
    """
    tried = driver(bolt)
    tried.send(sale)
    tried.advance("1s")
    (letter,) = tried.dead_letters()
    assert told in str(letter)
    assert LONGEST_KEY < 1_000_000


def _returns_list(sale: Sale) -> list[int]:
    return sale.parts


class Sales(KafkaSpout):
    topic = "sales"
    schema = Sale
    event_time = "at"


def test_what_can_be_no_key_is_told_before_anything_runs() -> None:
    """
    A function that says it returns a list, when the class is made; a field that is a list, when it is wired.
    """
    with pytest.raises(SettingsError, match="the function returns a list"):
        type("Wrong", (PerUser,), {"key": _returns_list})
    with pytest.raises(SettingsError, match="which is no key"):
        type("Wrong", (PerUser,), {"key": "parts"}).spec(inputs=[Sales.spec()])


class Sliding(PerUser):
    window = sliding("20ms", "10ms")


def _with_tasks(par: int) -> type:
    class Version(Topology):
        sales = Sales.spec()
        users = PerUser.spec(inputs=[sales], par=par)
        often = Sliding.spec(inputs=[sales], par=par)

    return Version


def test_another_number_of_tasks_keeps_everything() -> None:
    """
    1, 4, 3 and 1 again, in the middle of windows: slots, and with them state and what is counted, change their task.
    """
    whole, changing = Driver(_with_tasks(1)), Driver(_with_tasks(1))
    for number, par in enumerate((1, 4, 3, 1)):
        if number:
            changing.submit(_with_tasks(par))
        for tried in (whole, changing):
            for at in range(30):
                tried.send(Sale(number * 7 + at % 9, user=f"u{at}"), run=at % 4 == 0)
            tried.advance("200ms")
    for tried in (whole, changing):
        tried.end()
    for component in ("users", "often"):
        assert whole.results(component) == changing.results(component)
        assert whole.late(component) == changing.late(component)
