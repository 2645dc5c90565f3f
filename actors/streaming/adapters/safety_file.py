"""The operator's safety rules, which hold for every call of the fleet, whatever an agent says."""

from pathlib import Path
from typing import Any

import msgspec

from actors.streaming.core.safety.rules import demand_bounds
from bus.errors import ConfigError
from schemas.patterns import PatternError
from schemas.safety import Safety

SETTING = "CALLBOARD_SAFETY_FILE"


def load(path: Path) -> Safety:
    """Read the rules from YAML or JSON, in the form of a policy's ``safety``.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    decode: Any = msgspec.json.decode if path.suffix == ".json" else msgspec.yaml.decode
    try:
        safety: Safety = decode(path.read_bytes(), type=Safety)
        demand_bounds(safety.rules)
    except OSError as error:
        raise ConfigError(SETTING, f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, PatternError) as error:
        raise ConfigError(SETTING, f"{path}: {error}") from None
    return safety
