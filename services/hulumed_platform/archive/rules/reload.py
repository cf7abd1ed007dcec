"""Rules that follow their file: a good new one counts at once, a broken one changes nothing and is told."""

import logging
import threading
from pathlib import Path

from hulumed_platform.archive.rules.load import RulesError, RuleSet, digest_of, parse_rules, read_bytes
from hulumed_platform.core.errors import ErrorCode, PlatformError

log = logging.getLogger(__name__)


class LiveRules:
    """The rules of a file, read again by `refresh`; without a file, the ones given, for ever.

    The file is compared by content, not by time: mounted volumes swap files under the same time stamps. Safe for
    threads.
    """

    def __init__(self, rules: RuleSet, path: Path | None = None) -> None:
        self._rules = rules
        self._path = path
        self._refused: str | None = None
        self._fault: RulesError | None = None
        self._lock = threading.Lock()

    @property
    def rules(self) -> RuleSet:
        """The rules that count now."""
        return self._rules

    @property
    def broken(self) -> bool:
        """Whether the file, as it is now, cannot be used."""
        return self._fault is not None

    def check(self) -> None:
        """Raise UNAVAILABLE, with every fault, while the file cannot be used; the rules before it count on."""
        if fault := self._fault:
            raise PlatformError(
                ErrorCode.UNAVAILABLE, f"The rules file has faults, so the rules before count on: {fault}."
            )

    def refresh(self) -> RuleSet:
        """Look at the file; return the rules that count now."""
        if self._path is None:
            return self._rules
        with self._lock:
            try:
                content = read_bytes(self._path)
            except RulesError as error:
                self._refuse("", error)
            else:
                self._take(content)
        return self._rules

    def _take(self, content: bytes) -> None:
        digest = digest_of(content)
        if digest == self._refused:
            return
        if digest != self._rules.digest:
            try:
                self._rules = parse_rules(content)
            except RulesError as error:
                self._refuse(digest, error)
                return
            log.info("rules read", extra={"digest": digest, "rules": len(self._rules.rules)})
        self._refused = self._fault = None

    def _refuse(self, digest: str, error: RulesError) -> None:
        """Say it once for each content, not at every look."""
        if digest != self._refused:
            log.error("rules file not taken, the rules before count on: %s", error, extra={"digest": digest})
        self._refused, self._fault = digest, error
