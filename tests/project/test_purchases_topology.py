"""The whole pipeline, as its author would try it: what goes in at the topic, what is in Redis at the end."""

from datetime import date
from decimal import Decimal

import pytest

from spouts.purchases import Purchase
from stormline.testing import Driver, assert_deterministic
from topologies.purchases import PurchasesTopology

PURCHASES = [
    b'{"date": "1997-01-01", "amount": 11.77, "user_id": 1, "items": 1}',
    b'{"date": "1997-01-12", "amount": 12.00, "user_id": 2, "items": 1}',
    b'{"date": "1997-01-12", "amount": 577.00, "user_id": 2, "items": 5}',
    b'{"date": "1997-01-13", "amount": 4.99, "user_id": 1, "items": 1}',
    b'{"date": "1997-02-01", "amount": 20.00, "user_id": 1, "items": 2}',
]
JANUARY = date(1997, 1, 1)


def test_purchases_become_months_days_and_alerts() -> None:
    """
    Small purchases count nowhere, the others once in each component.
    """
    tried = Driver(PurchasesTopology)
    for purchase in PURCHASES:
        tried.send(purchase)
    tried.end()

    assert [1, 2, 1] == [row.values["purchases"] for row in tried.results("monthly")]
    assert ["11.77", "589.00", "20.00"] == [row.values["amount"] for row in tried.results("daily")]
    alert = tried.result(2, JANUARY, "alerts")
    assert alert is not None
    assert [alert] == tried.results("alerts")
    assert {"amount": "589.00", "purchases": 2, "latest": "1997-01-12"} == alert.values
    assert (4, 1) == (tried.status()["large"][0].records_out, tried.status()["large"][0].dropped)


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_anywhere_changes_no_cent(seed: int) -> None:
    """
    On four partitions, in any order, with a crash after each purchase, the month is the same.
    """
    tried = Driver(PurchasesTopology, partitions=4, seed=seed)
    for number, purchase in enumerate(PURCHASES[:3]):
        tried.send(purchase, partition=number % 4)
        tried.advance(f"{seed * 40}ms")
        tried.crash()
    tried.end()

    assert {1: "11.77", 2: "589.00"} == {row.key: row.values["amount"] for row in tried.results("monthly")}


def test_a_purchase_that_cannot_be_read_is_kept_with_its_reason() -> None:
    """
    It goes to the dead-letter topic of `purchases`; those around it count.
    """
    tried = Driver(PurchasesTopology)
    tried.send(PURCHASES[0])
    tried.send(b'{"date": "1997-01-02", "amount": "a lot", "user_id": 3, "items": 1}')
    tried.send(Purchase(date=date(1997, 1, 2), amount=Decimal("7.00"), user_id=1, items=1))
    tried.end()

    (letter,) = tried.dead_letters("purchases")
    assert ("purchases", "purchases/0/1") == (letter.component, letter.origin)
    assert "$.amount" in letter.reason
    assert [2] == [row.values["purchases"] for row in tried.results("monthly")]


def test_the_pipeline_does_the_same_again() -> None:
    """
    No function of it uses chance, a clock or a memory of its own.
    """
    assert_deterministic(PurchasesTopology, PURCHASES)
