"""Calls in work at once."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from starlette.datastructures import Headers

from hope.web.middleware.slots import Full, Slots, has_body


def test_a_client_holds_as_many_as_it_may_and_others_are_not_touched() -> None:
    slots = Slots(per_client=3, bodies=100)
    with ExitStack() as held:
        for _ in range(3):
            assert held.enter_context(slots.taken("a", body=False)) is None
        with slots.taken("a", body=False) as full:
            assert full is Full.CLIENT
        with slots.taken("b", body=True) as full:
            assert full is None
    with slots.taken("a", body=False) as full:
        assert full is None


def test_bodies_of_all_clients_leave_room_for_calls_without() -> None:
    slots = Slots(per_client=100, bodies=2)
    with ExitStack() as held:
        for client in "ab":
            assert held.enter_context(slots.taken(client, body=True)) is None
        with slots.taken("c", body=True) as full:
            assert full is Full.BODIES
        with slots.taken("c", body=False) as full:
            assert full is None
    with slots.taken("c", body=True) as full:
        assert full is None


def test_a_slot_is_given_back_when_a_call_fails() -> None:
    slots = Slots(per_client=1, bodies=1)
    for _ in range(3):
        with pytest.raises(RuntimeError), slots.taken("a", body=True) as full:
            assert full is None
            raise RuntimeError
    assert not slots._clients and slots._bodies == 0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"content-length": "0"}, False),
        ({"content-length": "5"}, True),
        ({"transfer-encoding": "chunked"}, True),
    ],
)
def test_a_body_is_announced(headers: dict[str, str], expected: bool) -> None:
    assert has_body(Headers(headers)) is expected
