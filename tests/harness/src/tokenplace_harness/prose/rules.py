"""Words and phrases that are out, each with what to write instead. See docs/glossary.md."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_PAGES: Final = ("docs/", "deploy/", "crds/", "changelog.d/", "README.md", "SECURITY.md")


@dataclass(frozen=True)
class Rule:
    """A pattern that is out. A space in it also matches a line break and a comment sign.

    pattern: a regular expression; case is ignored unless it has a capital letter.
    paths: only files whose path starts with one of these; empty: all files.
    """

    pattern: str
    replacement: str
    paths: tuple[str, ...] = ()

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        flags = 0 if re.search(r"[A-Z]", self.pattern) else re.IGNORECASE
        return re.compile(self.pattern.replace(" ", r"\s+(?:#:?\s+)?"), flags)

    def applies_to(self, path: str) -> bool:
        """Whether the rule covers a file."""
        return not self.paths or path.startswith(self.paths)


RULES: Final = (
    # Subjects that are not named.
    Rule(r"\bsomebody\b|\bsomeone\b", "name the subject: another writer, a user, a client"),
    Rule(r"\bwhoever\b|\bwhomever\b", "name the subject: a caller that, users who"),
    Rule(r"\bnobody\b", "name the subject with 'no': no user, no process; or the passive voice"),
    Rule(r"\beverybody\b", "everyone, every caller, all users"),
    Rule(r"\banybody\b", "anyone, any caller"),
    Rule(r"\bone who\b|\bthose who\b", "a client that, users who"),
    Rule(r"\bwhom\b", "rewrite with an active verb"),
    Rule(r"(?:\A|[.;:] )Who\b(?![^.?!]*\?)", "name the subject: a client that, the writer of"),
    Rule(
        r"(?:\A|[.;:] )What\b(?![^.?!]*\?)",
        "start with the noun: 'The fields that', 'Routes for'",
        ("operator/", "relay/", *_PAGES),
    ),
    Rule(r"\bof others\b|\bby others\b", "of another owner, by another writer"),
    # Riddles.
    Rule(r"\btold\b|\btells?\b(?! (?:\w+ ){0,3}apart)|\btelling\b", "report, return, notify"),
    Rule(r"\bsays\b|\bsaid\b", "reports, contains, states, reads"),
    Rule(r"\bsays? so\b", "states it"),
    Rule(r"\bspeaks?\b|\bspeaking\b", "describe, use, talk to"),
    Rule(r"\bhears?\b|\bheard\b", "receive, get a call"),
    Rule(r"\blook(?:s|ed|ing)? (?:at|again|after|into)\b", "check, read, refresh, manage"),
    Rule(r"\bknows? of\b", "knows, has"),
    Rule(r"\blets? go of\b|\bletting go of\b", "release, drop, evict"),
    Rule(r"\bsigns? of life\b", "call, heartbeat"),
    Rule(r"\bgoodbyes?\b", "close notification"),
    Rule(r"\bstands?\b(?! for\b|-|by)|\bstood\b", "is, is in"),
    Rule(r"\blies in\b|\blie in\b", "is in, is stored in"),
    Rule(r"\bmak(?:e|es|ing) way\b", "is deleted, recreate"),
    Rule(r"\bdie[sd]? of\b|\bdying of\b", "crash on"),
    Rule(r"\bthat there (?:is|are) not\b|\bwhat there (?:is|are)\b", "existing, unknown"),
    Rule(r"\bno such thing\b", "none"),
    Rule(r"\bfor so long\b|\bso many\b", "for this time, this many"),
    Rule(r"\bwish(?:es|ed)?\b", "request, change, desired state"),
    Rule(r"\bdefects?\b", "bug"),
    Rule(r"\btroubles?\b", "problem"),
    Rule(r"\bgets? to (?:know|see|read|hear)\b", "receives, is shown"),
    Rule(r"\bfor good\b", "permanently"),
    Rule(r"\bput(?:s|ting)? (?:\w+ )?right\b", "correct, fix"),
    Rule(r"\bas it stands\b|\bno word of\b", "as it is, without mentioning"),
    Rule(r"\ban answer [1-5]\d\d\b", "a 410 response"),
    # Old or literary words.
    Rule(r"\bfor ever\b|\bforever\b", "indefinitely, permanently"),
    Rule(r"\banew\b|\bafresh\b|\bbeg[iu]ns? again\b|\bbegun\b", "again, restarted, started"),
    Rule(r"\bmend(?:s|ed|ing)?\b", "fix"),
    Rule(r"\bholes?\b", "vulnerability, opening"),
    Rule(r"\b(?:the|other|same|what|which|new|old|its|these|those) bits\b", "image contents"),
    Rule(r"\bin vain\b", "without success"),
    Rule(r"\bever (?:less|more)\b", "less and less, more and more"),
    Rule(r"\bbeside\b|\bbesides\b", "next to, in addition to, compared with, other than"),
    Rule(r"\bbut for\b|\bbut that\b|\bsave for\b", "except, apart from"),
    Rule(r"\bshall\b|\bthereof\b|\blest\b|\bwhence\b|\bere\b", "must, of it, so that not"),
    Rule(r"\bunder way\b|\bon the way\b", "in progress, in transit, being deleted"),
    Rule(r"\bat work\b", "in progress, running"),
    Rule(r"\bbooks\b", "state"),
    Rule(
        r"[,;] for (?:there|it|they|then|only|nothing|no one|otherwise|else)\b",
        "because",
    ),
    # Terms that have been replaced: see docs/glossary.md.
    Rule(r"\bstrangers?\b", "unmanaged object (Kubernetes); unknown client, outsider (relay)"),
    Rule(r"\bthe kind\b(?! of| that| is|:|-)", "the CRD, TokenplaceRelay", _PAGES),
    Rule(r"\bcontest(?:s|ed|ant|able)?\b", "write backoff, reverted, conflicting writes"),
    Rule(r"\bundo(?:es|ne)\b", "reverts, reverted"),
    Rule(r"\boutlast(?:s|ed)?\b", "survive, fault-tolerant"),
    Rule(r"\binsists?\b|\brefills?\b", "retry until available, enqueue all"),
    Rule(r"\bledgers?\b|\bmailbox(?:es)?\b|\bthe moves\b", "state, client inbox, transitions"),
    Rule(r"\bnews\b", "progress, change, update"),
    Rule(r"\bnameless\b", "anonymous (no request id)"),
    Rule(r"\blapses?\b|\blapsed\b", "expired lease, expire"),
    Rule(r"\bbury\b|\bburied\b|\bforgotten\b", "tombstone; evict, drop"),
    Rule(r"\bhand(?:s|ed|ing)?(?: |-)outs?\b", "claim"),
    Rule(r"\bhand(?:s|ed|ing)? in\b", "submit, send"),
    Rule(r"\bcork(?:s|ed)?\b|\btally\b|\broster\b", "write batching, request metrics, node list"),
    Rule(r"(?<![$.])\bwanted\b", "desired, requested, enabled"),
    # Texts that have been replaced.
    Rule(r"nothing waits for you", "No action required."),
    Rule(r"the relay serves\.", "Relay is ready."),
    Rule(r"everything is as", "All resources are up to date."),
    Rule(r"stopping on a signal", "received SIGTERM, shutting down"),
    Rule(r"nothing new is taken", "draining: rejecting new requests"),
)

_NOUN: Final = "the noun: deployment, condition, key, headers"
NAMES: Final = {
    "found": _NOUN,
    "one": _NOUN,
    "known": _NOUN,
    "told": _NOUN,
    "contests": "write_backoff",
    "contest": "revert",
    "contested": "reverted",
    "tap": "interceptor",
    "outlast": "tolerate_faults",
    "look": "refresh",
    "insist": "retry_until_available",
    "refill": "enqueue_all",
    "moves": "transitions",
    "nodemoves": "NodeTransitions",
    "clientmoves": "ClientTransitions",
    "ledger": "state",
    "books": "state",
    "mailbox": "inbox",
    "mailboxes": "inboxes",
    "news": "progress",
    "nameless": "anonymous",
    "lapse": "lease_end",
    "lapses": "expired_leases",
    "shown_in": "requires_proof",
    "bury": "add_tombstone",
    "cork": "write_batching",
    "tally": "request_metrics",
    "roster": "node_list",
    "around": "instrument",
    "strangers": "unmanaged",
    "wanted": "desired",
    "wishes": "delays",
}
"""Identifier of the two programs, in lower case without outer underscores -> a better name."""
