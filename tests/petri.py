"""SNAKES, the peer for nets. It wants the module ``imp``, which newer Pythons do not have."""

import sys
import warnings
from types import ModuleType


def _snakes() -> ModuleType:
    imp = ModuleType("imp")
    imp.__dict__["new_module"] = ModuleType
    before = sys.modules.get("imp")
    sys.modules["imp"] = imp
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import snakes.nets  # noqa: PLC0415  only with its module in place
    finally:
        del sys.modules["imp"]
        if before is not None:
            sys.modules["imp"] = before
    return snakes.nets


nets = _snakes()
