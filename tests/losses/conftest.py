"""The public losses with their annotations checked at every call."""

import importlib

from checked_types import checked

from ssljax import losses

# Before the test modules import them.
for _name in losses.__all__:
    _function = getattr(losses, _name)
    _checked = checked(_function)
    setattr(losses, _name, _checked)
    setattr(importlib.import_module(_function.__module__), _name, _checked)
