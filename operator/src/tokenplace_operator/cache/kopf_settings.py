"""Settings that make kopf an event source and nothing more.

kopf writes nothing: no finalizer, no annotation, no peering object, no Event.
"""

from typing import Any

import kopf

from tokenplace_operator.api.kinds import CHILD_KINDS
from tokenplace_operator.api.labels import selector_of

ERROR_BACKOFFS = (0.5, 1, 2, 3) + (5,) * 9
"""Pauses between failed requests. In all less than the default idle time of a watch, so that a
missing right ends the process with its error and is not taken for an idle watch."""


class NullDiffBase(kopf.DiffBaseStorage):
    """Stores no last state of an object: no annotation, and no copy of each body either."""

    def build(self, **_: Any) -> kopf.BodyEssence:  # noqa: ANN401 (kopf's own signature)
        """Return an empty essence."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:  # noqa: ANN401
        """Return None: no state is stored."""
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401
        """Store nothing."""


class NullProgress(kopf.ProgressStorage):
    """Stores no progress of handlers, because there are no handlers with progress."""

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        """Return None: no progress is stored."""

    def store(self, **_: Any) -> None:  # noqa: ANN401
        """Store nothing."""

    def purge(self, **_: Any) -> None:  # noqa: ANN401
        """Delete nothing."""

    def touch(self, **_: Any) -> None:  # noqa: ANN401
        """Write nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return the essence as it is."""
        return essence


def configure(settings: kopf.OperatorSettings, idle_seconds: float) -> None:
    """Set timeouts, selectors and storages; idle_seconds: see `watch`."""
    # By default kopf posts its own messages as Events on the users' objects.
    settings.posting.enabled = False
    # The kinds are fixed and must exist at the start, see `kopf_discovery`.
    settings.scanning.disabled = True
    # A watch that failed can leave kopf hanging at its exit; this ends the process.
    settings.process.ultimate_exiting_timeout = 20
    # Objects per page: a page is in memory both as text and as objects for a moment.
    settings.watching.chunk_size = 50
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = idle_seconds
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = ERROR_BACKOFFS
    settings.persistence.diffbase_storage = NullDiffBase()
    settings.persistence.progress_storage = NullProgress()
    # kopf removes its finalizer from every object that it watches, even one that another kopf
    # operator has set. So ours is a name that no operator uses.
    settings.persistence.finalizer = "token.place/unused"
    # The server filters: otherwise every Service and Deployment of the cluster would be sent.
    for kind in CHILD_KINDS:
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = selector_of(kind)
