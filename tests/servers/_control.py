"""What tests may ask of the test server: its log of requests, a delay of inserts, failures to come."""

from __future__ import annotations

import dataclasses
import json
import threading

# Long texts would make the log expensive; the beginning tells which statement it was.
STATEMENT_LENGTH = 200


@dataclasses.dataclass
class Entry:
    """One request in the log; ``status`` stays 0 until it is answered and where the connection was closed.

    ``delayed`` is true as soon as an INSERT waits because a test asked for that.
    """

    method: str
    path: str
    params: dict[str, str]
    body_bytes: int
    user: str = ""
    statement: str = ""
    status: int = 0
    delayed: bool = False


@dataclasses.dataclass
class Fault:
    """Failures to come: ``count`` times ``status`` (0 hangs up), ``after`` storing or instead of it.

    ``keyword`` limits them to statements that begin with it.
    """

    status: int = 503
    count: int = 1
    after: bool = False
    keyword: str = ""


class Control:
    """State that tests set and read; safe for use by the threads of the server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._reset()

    def _reset(self) -> None:
        self._entries: list[Entry] = []
        self._faults: list[Fault] = []
        self._delay = 0.0

    def begin(self, method: str, path: str, params: dict[str, str], body: bytes) -> Entry:
        """Log a request on its arrival."""
        public = {name: value for name, value in params.items() if name != "password"}
        if "query" in public:
            public["query"] = public["query"][:STATEMENT_LENGTH]
        entry = Entry(method, path, public, len(body))
        with self._lock:
            self._entries.append(entry)
        return entry

    def fault_for(self, keyword: str) -> Fault | None:
        """Use up one of the failures that are meant for a statement with this leading keyword."""
        with self._lock:
            for fault in self._faults:
                if fault.count > 0 and fault.keyword in {"", keyword}:
                    fault.count -= 1
                    return fault
        return None

    def wait(self, entry: Entry) -> None:
        """Take as long as tests said inserts should take; `/__reset__` ends it."""
        with self._changed:
            entry.delayed = self._delay > 0
            self._changed.wait_for(lambda: self._delay == 0, timeout=self._delay)

    def answer(self, path: str, params: dict[str, str]) -> bytes:
        """Do what a control path says; the answer is JSON."""
        with self._changed:
            found: object = {}
            if path == "/__requests__":
                found = [dataclasses.asdict(entry) for entry in self._entries]
            elif path == "/__reset__":
                self._reset()
                self._changed.notify_all()
            elif path == "/__delay__":
                self._delay = float(params["seconds"])
            elif path == "/__fail__":
                self._faults.append(_fault(params))
            return json.dumps(found).encode()


def _fault(params: dict[str, str]) -> Fault:
    return Fault(
        status=int(params.get("status", 503)),
        count=int(params.get("count", 1)),
        after=params.get("after", "0") == "1",
        keyword=params.get("keyword", ""),
    )
