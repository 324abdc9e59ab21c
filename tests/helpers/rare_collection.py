"""Collect garbage rarely; importing this sets it for the process.

Tracing makes millions of objects that are no garbage, and Python's collector looks at
them after every 700: that took an eighth of the tests' time.
"""

import gc

gc.set_threshold(200_000, 20, 100)
