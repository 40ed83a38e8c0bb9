"""The time of day steps, by days and both ways: nothing is written, and the leader stays."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.operator_process import PROGRAM, OperatorProcess, Operators
from tokenplace_cluster.subjects.relays import Relays

STEPPING = f"""
import pathlib, sys
from datetime import timedelta
from tokenplace_operator import clock

days, true_now = pathlib.Path(sys.argv.pop(1)), clock.utc_now
clock.utc_now = lambda: true_now() + timedelta(days=float(days.read_text()))
{PROGRAM}
"""
DAYS = 2
LEASE_SECONDS = 6
RENEWALS = 9
"""They take longer than a Lease lasts without renewal."""


def has_reconciled(operator: OperatorProcess, times: float) -> bool:
    return operator.reconciles() >= times


def has_renewed(renewals: Callable[[], int], times: int) -> bool:
    return renewals() >= times


@pytest.mark.usefixtures("kubelet")
def test_a_step_of_the_clock_writes_nothing_and_moves_no_lease(
    *,
    control_plane: ControlPlane,
    operators: Operators,
    namespace: str,
    relays: Relays,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    days = tmp_path / "days"
    days.write_text("0")
    command = (sys.executable, "-W", "error", "-c", STEPPING, str(days), "run")
    login = control_plane.user_kubeconfig(f"stepping-{namespace}", ["system:masters"])
    flags = (f"--namespace={namespace}", f"--lease-namespace={namespace}", "--metrics-port=0")
    lease = f"--lease-seconds={LEASE_SECONDS}"
    log = tmp_path / "stepping.log"
    stepping = OperatorProcess(log, login, *flags, lease, command=command)
    try:
        eventually(stepping.leads)
        relays.apply()
        eventually(lambda: relays.when(Ready="True"))
        standby = operators.start(lease)
        eventually(standby.started)
        since = audit.now()

        def renewals() -> int:
            log = audit.writes(control_plane.audit_log, user=login.stem, since=since)
            return sum(one.resource == "leases" for one in log)

        for number, step in enumerate((DAYS, -DAYS)):
            days.write_text(str(step))
            reconciled, renewed = stepping.reconciles(), renewals()
            relays.patch({"metadata": {"labels": {"example.com/step": str(number)}}})
            eventually(partial(has_reconciled, stepping, reconciled + 1))
            eventually(partial(has_renewed, renewals, renewed + RENEWALS))
            assert not standby.lines("leading")
        writes = audit.writes(control_plane.audit_log, user=login.stem, since=since)
        assert {one.resource for one in writes} == {"leases"}
        assert stepping.end() == 0
        eventually(standby.leads)
    finally:
        stepping.popen.kill()
