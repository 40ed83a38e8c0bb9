"""A bounded dict drops what was written longest ago, and nothing else."""

from tokenplace_operator.bounded import BoundedDict


def test_the_oldest_entry_makes_room_for_a_new_one() -> None:
    found: BoundedDict[str, int] = BoundedDict(2)
    found["a"], found["b"] = 1, 2
    found["c"] = 3
    assert dict(found) == {"b": 2, "c": 3}


def test_a_write_makes_an_entry_the_newest() -> None:
    found: BoundedDict[str, int] = BoundedDict(2)
    found["a"], found["b"] = 1, 2
    found["a"] = 3
    found["c"] = 4
    assert dict(found) == {"a": 3, "c": 4}
