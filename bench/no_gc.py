"""A plugin of pytest without garbage collection: it runs in environments that have nothing but pytest."""

import gc

gc.disable()
