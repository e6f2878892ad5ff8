"""Methods of other libraries, one module each: ``hf:grounding-dino`` lives in ``grounding_dino.py``.

A module is imported only when its method runs, so that naming them costs nothing.
"""

from __future__ import annotations

import pkgutil


def method_names() -> list[str]:
    """What may follow ``hf:``, by the names of the modules in this folder."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
