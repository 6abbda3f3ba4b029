"""The helper process: sends a run's rows while its tests run, and outlives pytest if it must.

Entered by ``main`` in a process that has detached itself from pytest. Its main thread seals and sends; a
second one listens to pytest (see ``link``), so that neither a slow server nor a hanging one keeps a death
from being noticed.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from pytest_test_observer._clock import Clock
from pytest_test_observer._destinations.build import build
from pytest_test_observer._journal.complete import complete
from pytest_test_observer._journal.files import JournalFiles
from pytest_test_observer._journal.locks import SENDER, FileLock
from pytest_test_observer._journal.reader import JournalReader
from pytest_test_observer._journal.tidy import tidy
from pytest_test_observer._shipper.link import Link
from pytest_test_observer._shipper.log import Log
from pytest_test_observer._shipper.protocol import Final, Task
from pytest_test_observer._shipper.renew import can_renew, read_task, renew
from pytest_test_observer._shipper.ship import Account, Shipper
from pytest_test_observer._shipper.waiting import Waiting, discard_unbegun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_test_observer._destinations import Destination

# How often the journal is looked at, in seconds: a stat() of two files; also a lock that an older helper still has.
_LOOK = 0.2
# Rows are sent when they are this old, in seconds: with _LOOK and the insert itself that is within two
# seconds of their test. The share of the run's age keeps a fleet of long runs from flooding a server with
# parts.
_YOUNG = 1.2
_OLD = 10.0
_SHARE_OF_AGE = 1 / 60
# About 1,000 rows: the shortest row has some 850 bytes.
_MANY_BYTES = 850_000
# Seconds between the tries at the end of a run: somebody waits for them, and a server that refuses
# connections must not cost each run its whole patience. Nobody waits once pytest is dead.
_LAST_PAUSES = (0.2, 0.6)
_ORPHANS_PAUSES = (0.5, 1.0, 2.0)
# Seconds: a helper that was killed a moment ago may still hold the lock.
_LOCK_PATIENCE = 2.0
# Times that an embedded engine is opened before the helper goes on in a fresh program, which costs a second.
_OPENINGS = 30
# Where TLS libraries are told authorities to trust: a path can be relative to the directory that pytest was started in.
_AUTHORITIES = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
)
# Seconds between putting unsent rows on the disk itself, against power cuts.
_SYNC = 5.0


class Sender:
    """Ships one journal until its run is over.

    ``renew`` begins anew with what a library has kept, and does not return; it is told when this sender was born.
    """

    def __init__(
        self,
        files: JournalFiles,
        destination: Destination,
        link: Link,
        *,
        renew: Callable[[float], None] | None = None,
        born: float | None = None,
    ) -> None:
        self._files = files
        self._link = link
        self._destination = destination
        self._journal = JournalReader(files)
        self._shipper = Shipper(self._journal, destination, _log)
        self._renew = renew
        self._openings = 0
        self._synced = Clock.monotonic()
        self._born = self._synced if born is None else born
        self._unsent_since: float | None = None
        self._trouble = ""
        link.on_done = lambda: self._log_wait() if self._shipper.is_waiting else None

    def run(self) -> Account:
        """Send live, then the rest; returns the account."""
        self._journal.recover()
        if not (self._link.done or self._link.orphaned):
            self._log_wait()
            self._shipper.warm_up()
        gc.enable()
        while not (self._link.done or self._link.orphaned):
            self._in_spite_of_disks(self._look)
            self._link.wait(_LOOK)
        self._in_spite_of_disks(self._complete)
        return self._finish()

    def _in_spite_of_disks(self, action: Callable[[], None]) -> None:
        """Go on where the disk takes or gives nothing: there may be room again, and the rest is sent."""
        try:
            action()
        except OSError as error:
            if self._trouble != str(error):
                _log(str(error))
            self._trouble = str(error)

    def _log_wait(self) -> None:
        """Log what is true only if nothing follows it, for pytest to quote if it ends us."""
        _log(f"{self._destination.label} has not answered yet")

    def _look(self) -> None:
        now = Clock.monotonic()
        unsealed = self._journal.unsealed_bytes()
        if unsealed and self._unsent_since is None:
            self._unsent_since = now
        if unsealed and (self._link.flush or unsealed >= _MANY_BYTES or self._is_due(now)):
            self._unsent_since = None
            self._seal()
        if self._journal.pending():
            self._shipper.ship()
            self._destination.release()
            self._openings += 1
            self._sync(now)
        # A test may have closed the pipe, and a process that it left behind may hold it open: the files tell
        # as well.
        self._journal.refresh()
        is_abandoned = self._link.deaf and not os.path.exists(self._files.meta)
        self._link.done = self._link.done or self._journal.run is not None or is_abandoned
        self._renew_at_times()

    def _renew_at_times(self) -> None:
        """Begin anew, never while somebody waits or something does: all that is known then stands in the files."""
        if self._renew is None or self._openings < _OPENINGS or self._journal.pending():
            return
        if not (self._link.flush or self._link.done or self._link.orphaned or self._link.deaf):
            self._openings = 0
            self._journal.close()
            self._renew(self._born)

    def _is_due(self, now: float) -> bool:
        interval = min(_OLD, max(_YOUNG, (now - self._born) * _SHARE_OF_AGE))
        return self._unsent_since is not None and now - self._unsent_since >= interval

    def _seal(self) -> None:
        if self._journal.begin is None:
            self._journal.refresh()
        if self._journal.begin is not None:
            self._journal.seal()

    def _sync(self, now: float) -> None:
        if self._journal.pending() and now - self._synced >= _SYNC:
            self._journal.sync()
            self._synced = now

    def _complete(self) -> None:
        self._journal.refresh()
        if self._link.orphaned:
            complete(self._journal, Clock.time_ns())

    def _finish(self) -> Account:
        self._in_spite_of_disks(self._seal)
        pauses = iter(_ORPHANS_PAUSES if self._link.orphaned else _LAST_PAUSES)
        while not (self._ship_at_once() or self._shipper.is_hopeless):
            pause = next(pauses, None)
            if pause is None:
                break
            Clock.sleep(pause)
        account = self._shipper.account()
        self._destination.close()
        self._journal.close()
        self._in_spite_of_disks(lambda: tidy(self._journal))
        return account if account.complete or account.message else account._replace(message=self._trouble)

    def _ship_at_once(self) -> bool:
        self._shipper.hurry()
        if self._journal.pending():
            self._log_wait()
        return self._shipper.ship()


def main(listen: int = 0, answer: int = 1, journal: Sequence[str] = ()) -> None:
    """Run the helper on two pipes: ``listen`` brings the task, ``answer`` takes the account.

    ``journal`` is directory and stem of the files that pytest has made, for where no task comes.
    """
    link = Link(os.dup(listen), os.dup(answer))
    task = link.first()
    if task is None:
        if journal:
            discard_unbegun(JournalFiles(*journal), _LOCK_PATIENCE)
        return
    _serve(task, link)


def go_on(task: int, listen: int, answer: int, born: float) -> None:
    """Be the helper that ``renew`` has made of an older one; the numbers are descriptors."""
    found = read_task(task)
    if found is not None:
        _serve(found, Link(listen, answer), born)


def _serve(task: Task, link: Link, born: float | None = None) -> None:
    files = JournalFiles(task.directory, task.stem)
    log = Log(files.log, task.destinations.secrets)
    lock = FileLock(files.lock, SENDER)
    try:
        _leave_no_trace(log)
        link.watch(task.process)
        if _acquired(lock):
            waiting = Waiting(files)  # looked for beside the tests, nobody waits for it
            begin_anew = (lambda since: renew(task, link, since)) if can_renew(task) else None
            account = Sender(files, build(task.destinations), link, renew=begin_anew, born=born).run()
            notes = [] if link.orphaned else waiting.notes()  # nothing is removed unless somebody is told
            link.say(Final(account.sent, account.complete, account.message, [*account.notes, *notes]))
        else:
            _log("another process is sending the results of this run")
    except Exception:  # noqa: BLE001 - whatever it is, the log is its place; the rows are on disk
        traceback.print_exc(file=sys.stderr)
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    deadline = Clock.monotonic() + _LOCK_PATIENCE
    while not lock.acquire():
        if Clock.monotonic() > deadline:
            return False
        Clock.sleep(_LOOK)
    return True


def _log(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - the log stands in for it


def _leave_no_trace(log: Log) -> None:
    """Keep nothing of pytest's: not its directory, not its terminal, not its rank for the OOM killer."""
    log.take_over_output()
    for name in ("SIGINT", "SIGHUP"):  # sent to every process of a user or a job, meant for pytest
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # what started pytest may ignore or block what ends an orphan
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    for name in _AUTHORITIES:
        if path := os.environ.get(name):
            os.environ[name] = os.path.abspath(path)
    os.chdir(os.path.abspath(os.sep))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # under a container's limit the helper goes first, the tests come after it
    except OSError:
        pass
