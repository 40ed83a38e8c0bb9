"""The rest of a plan after it was executed or refused, which the status reports."""

from collections.abc import Callable
from typing import Any

from tokenplace_harness.states import make_relay
from tokenplace_operator.api.kinds import Key, Kind, identity
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.plan import plan, remaining
from tokenplace_operator.desired.build import build
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.facts import Facts

Object = dict[str, Any]


def written(*objs: Object) -> Callable[[Kind, Key], Object | None]:
    """Reads from a store after these were written; the server fills in more."""
    store = Store(Metrics())
    for version, obj in enumerate(objs):
        metadata = {**obj["metadata"], "resourceVersion": str(version), "uid": "x"}
        store.put({**obj, "metadata": metadata, "status": {}})
    return store.get


def test_writes_before_a_refusal_count_as_done() -> None:
    wanted = build(make_relay(), Facts())
    policy = next(one for one in wanted if one["kind"] == "NetworkPolicy")
    todo = plan(wanted, {}, [], "u")
    found = remaining(todo, written(policy), rejected=True)
    assert found.skip == (policy,)
    assert {identity(one) for one in found.apply} == {
        identity(one) for one in wanted if one is not policy
    }
    assert found.new == found.apply


def test_an_older_child_that_was_not_written_is_still_to_do() -> None:
    before = build(make_relay(), Facts())
    wanted = build(make_relay(port=6060), Facts())
    live = {identity(one): one for one in before}
    todo = plan(wanted, live, before, "u")
    assert {one["kind"] for one in todo.apply} == {"NetworkPolicy", "Deployment"}
    assert remaining(todo, written(*before), rejected=True).apply == todo.apply
    assert remaining(todo, written(*wanted), rejected=True).apply == ()


def test_what_is_to_go_is_gone_unless_something_was_refused() -> None:
    before = build(make_relay(), Facts())
    live = {identity(one): one for one in before}
    todo = plan(build(make_relay(networkPolicy={"enabled": False}), Facts()), live, before, "u")
    store = written(*before)
    assert [one["kind"] for one in remaining(todo, store, rejected=True).prune] == ["NetworkPolicy"]
    assert remaining(todo, store, rejected=False).prune == ()
