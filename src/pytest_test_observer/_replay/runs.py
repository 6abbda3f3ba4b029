"""Replaying the journal of one run."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from typing import TYPE_CHECKING

from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._journal.append import Appender
from pytest_test_observer._journal.complete import complete
from pytest_test_observer._journal.files import JournalFiles
from pytest_test_observer._journal.reader import FILES, JournalReader
from pytest_test_observer._journal.tidy import tidy
from pytest_test_observer._lines import digest
from pytest_test_observer._replay.careful import Delivered, Refused
from pytest_test_observer._replay.claim import last_change_ns
from pytest_test_observer._replay.lines import damage
from pytest_test_observer._replay.outcome import Outcome
from pytest_test_observer._replay.quarantine import Quarantine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_test_observer._destinations import Batch
    from pytest_test_observer._journal.sidecar import Sealed
    from pytest_test_observer._replay.lanes import Lanes

_TORN = "its end is missing"


def replay_run(run: JournalFiles, lanes: Lanes, *, keep: bool, advance: Callable[[int], None]) -> Outcome:
    """Send what is left of a run; for whoever holds its locks. ``advance`` is told bytes as they are done.

    With ``keep`` the files stay as they are: the work is done on a copy. Raises OSError.
    """
    with _workplace(run, keep=keep) as place:
        replay = _RunReplay(run, place, lanes, advance)
        try:
            outcome = replay.send()
        finally:
            replay.journal.close()
        if not keep:
            tidy(replay.journal)
            if not outcome.problem:
                _forget_log(run)
        return outcome._replace(kept=keep)


@contextlib.contextmanager
def _workplace(run: JournalFiles, *, keep: bool) -> Iterator[JournalFiles]:
    if not keep:
        yield run
        return
    with tempfile.TemporaryDirectory(prefix="pytest-observer-replay-") as directory:
        place = JournalFiles(directory, run.stem)
        for name in os.listdir(run.directory):
            if name.startswith(f"{run.stem}.") or name == os.path.basename(run.events):
                copy = os.path.join(directory, name)
                shutil.copy2(os.path.join(run.directory, name), copy)  # its time as well: that of the run's death
                os.chmod(copy, 0o600)
        yield place


class _RunReplay:
    """The replay of one run, whose files stand at ``place`` (at ``run`` itself unless they are kept)."""

    def __init__(self, run: JournalFiles, place: JournalFiles, lanes: Lanes, advance: Callable[[int], None]) -> None:
        self.journal = JournalReader(place)
        self._run = run
        self._place = place
        self._lanes = lanes
        self._advance = advance
        self._quarantine = Quarantine(run.directory, run.stem)
        self._rows = Counter[str]()
        self._already = 0
        self._set_aside = 0
        self._reason = ""

    def send(self) -> Outcome:
        """Complete what a dead run left open, seal, and send batch by batch."""
        self.journal.recover()
        complete(self.journal, last_change_ns(self._place))
        for table in FILES:
            self._end_last_line(table)
        failed: Reply | None = None
        for sealed, batch, delivered in self._lanes.deliver(self._batches()):
            if delivered.reply.answer is Answer.TAKEN:
                self._note(sealed, batch, delivered)
            else:
                failed = failed or delivered.reply
        if failed is None:
            for table in FILES:
                self._set_torn_aside(table)
        return self._outcome(failed or Reply(Answer.TAKEN))

    def _batches(self) -> Iterator[tuple[Sealed, Batch]]:
        """Yield what is to be sent in order; events that results carry have arrived when all of those have."""
        if self._lanes.carries_events:
            self.journal.seal()
            pending = sorted(self.journal.pending(), key=lambda sealed: sealed.table == "events")
        else:
            pending = self.journal.pending()
        for sealed in pending:
            yield sealed, self.journal.load(sealed)
        yield from self.journal.cut()

    def _note(self, sealed: Sealed, batch: Batch, delivered: Delivered) -> None:
        self._put_aside(sealed.table, batch.token, delivered.refused)
        if delivered.refused:
            self.journal.set_aside(sealed, len(delivered.refused))
        else:
            self.journal.taken(sealed)
        self._rows[sealed.table] += delivered.stored + delivered.already
        self._already += delivered.already
        self._advance(sealed.size)

    def _end_last_line(self, table: str) -> None:
        """Give a last line its line feed where nothing else is missing."""
        torn = self.journal.torn(table)
        if torn and not damage(torn):
            results = Appender(self._place.table(table))
            results.write(b"\n")
            results.close()

    def _set_torn_aside(self, table: str) -> None:
        torn = self.journal.torn(table)
        if not torn:
            return
        path = self._place.table(table)
        self._put_aside(table, f"torn-{digest(torn)}", (Refused(torn, _TORN),))
        os.truncate(path, os.stat(path).st_size - len(torn))

    def _put_aside(self, table: str, origin: str, lines: tuple[Refused, ...]) -> None:
        source = self._run.meta if table == "runs" else self._run.table(table)
        self._quarantine.put(table, origin, source, lines)
        self._set_aside += len(lines)
        self._reason = self._reason or (lines[0].reason if lines else "")

    def _outcome(self, reply: Reply) -> Outcome:
        return Outcome(
            self._run.results,
            results=self._rows["results"],
            events=self._rows["events"],
            runs=self._rows["runs"],
            already=self._already,
            set_aside=self._set_aside,
            quarantine=self._quarantine.directory,
            reason=self._reason,
            problem=reply.message if reply.answer is not Answer.TAKEN else "",
            is_outage=reply.answer is not Answer.TAKEN,
        )


def _forget_log(run: JournalFiles) -> None:
    """Delete what the run's helper had to say: all has arrived."""
    with contextlib.suppress(OSError):
        os.unlink(run.log)
