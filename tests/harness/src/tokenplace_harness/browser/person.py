"""A person with the chat page open: what they do, and what they see."""

from dataclasses import dataclass, field

from playwright.sync_api import Locator, Page, expect

PATIENCE_MS = 30_000
"""Generous: the tests may share their machine with much else."""


@dataclass(slots=True)
class Person:
    """One page in one browser context."""

    page: Page
    faults: list[str] = field(default_factory=list)
    """Uncaught errors and broken security policies; a test must end without any."""
    asked: list[str] = field(default_factory=list)
    """Every address that the page asked for."""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: self._hear(message.text))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _hear(self, text: str) -> None:
        if "Content Security Policy" in text or "Trusted" in text:
            self.faults.append(text)

    def open(self, url: str) -> None:
        """Open the page and wait until it can be used."""
        self.page.goto(url)
        self.box.wait_for()

    @property
    def box(self) -> Locator:
        """Where questions are written."""
        return self.page.get_by_label("Your question", exact=True).and_(
            self.page.locator("textarea")
        )

    @property
    def turn(self) -> Locator:
        """The newest question with what became of it."""
        return self.page.locator(".turn").last

    @property
    def answer(self) -> Locator:
        """The newest answer's words."""
        return self.turn.locator(".answer .prose")

    @property
    def told(self) -> Locator:
        """The polite announcements for a screen reader."""
        return self.page.locator("[role=status][aria-atomic]")

    def ask(self, question: str) -> None:
        """Write a question and send it."""
        self.box.fill(question)
        self.box.press("Enter")

    def press(self, name: str) -> None:
        """Press the button with this name."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def sees(self, text: str) -> None:
        """Wait until the newest turn shows a text."""
        expect(self.turn).to_contain_text(text, timeout=PATIENCE_MS)

    def gets(self, text: str) -> None:
        """Wait until the newest turn has an answer with a text."""
        expect(self.answer).to_contain_text(text, timeout=PATIENCE_MS)
