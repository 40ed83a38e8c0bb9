"""spec.image: the container image of the relay."""

from __future__ import annotations

from dataclasses import dataclass

from tokenplace_operator.api.spec.reader import SpecReader

RELAY_REPOSITORY = "ghcr.io/futuroptimist/tokenplace-relay"


@dataclass(frozen=True, slots=True)
class Image:
    """spec.image."""

    repository: str = RELAY_REPOSITORY
    tag: str = ""
    digest: str = ""
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()

    @classmethod
    def read(cls, spec: SpecReader) -> Image:
        """Read the section."""
        return cls(
            repository=spec.text("repository", RELAY_REPOSITORY),
            tag=spec.text("tag"),
            digest=spec.text("digest"),
            pull_policy=spec.text("pullPolicy", "IfNotPresent"),
            pull_secrets=tuple(str(secret.get("name")) for secret in spec.objects("pullSecrets")),
        )

    @property
    def reference(self) -> str:
        """The image reference of the pods; a digest takes precedence over a tag."""
        return (
            f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"
        )

    @property
    def problems(self) -> list[str]:
        """Violations of the CRD's rules between fields."""
        if not self.tag and not self.digest:
            return ["spec.image: set digest (preferred) or tag"]
        if self.tag.lower().endswith("latest") and not self.digest:
            return ["spec.image.tag: latest is not a fixed image; use a digest or a release tag"]
        return []
