"""Prints the rows of one statement on an embedded database: ``python -m tests.servers.embedded DIR SQL``."""

from __future__ import annotations

import os
import sys
from typing import Any

import chdb

_chdb: Any = chdb._chdb  # its own stub leaves out connect
_SETTINGS = "output_format_json_quote_64bit_integers = 0, output_format_json_named_tuples_as_objects = 0"


def main(path: str, sql: str) -> None:
    """Print each row as one line of JSON."""
    handle = _chdb.connect(path)
    handle.query(f"SET {_SETTINGS}")
    sys.stdout.buffer.write(handle.query(sql, "JSONEachRow").bytes())
    handle.close()
    sys.stdout.flush()
    # The engine has closed its files; taking its libraries down would cost more than the query.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
