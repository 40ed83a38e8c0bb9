"""The counts of relays in the metrics: by readiness and condition, never by name."""

from tokenplace_operator.kinds import Object
from tokenplace_operator.metrics import Metrics


def relay(**statuses: str) -> Object:
    conditions = [{"type": kind, "status": status} for kind, status in statuses.items()]
    return {"metadata": {"name": "secret-project"}, "status": {"conditions": conditions}}


def test_relays_are_counted_at_each_scrape() -> None:
    metrics = Metrics()
    relays = [relay(Ready="True", Paused="False"), relay(Ready="False"), relay(), {}]
    metrics.count_relays(lambda: relays)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"tokenplace_operator_{name}", labels)

    assert [value("relays", ready=one) for one in ("True", "False", "Unknown")] == [1, 1, 2]
    assert value("relay_condition", condition="Paused", status="False") == 1
    del relays[1:]
    assert value("relays", ready="False") == 0
    assert value("relay_condition", condition="Ready", status="False") is None
