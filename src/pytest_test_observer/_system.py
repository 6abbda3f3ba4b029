"""What the plugin asks of the operating system while tests run, out of reach of the tested suite.

A test may replace ``os.write`` by a mock and forget it, a library may replace the module ``os`` in all others
(pyfakefs). Attributes of a class are not searched, so what is kept here stays the real thing, as the clock does.
"""

from __future__ import annotations

import os


class System:
    """Functions of ``os``, as they were when the plugin was switched on."""

    close = staticmethod(os.close)
    fstat = staticmethod(os.fstat)
    open = staticmethod(os.open)
    read = staticmethod(os.read)
    write = staticmethod(os.write)
