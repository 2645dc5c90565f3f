"""The operator's safety rules, which hold for every call of the fleet, whatever an agent says."""

from pathlib import Path

from actors.streaming.core.safety.rules import demand_bounds
from bus import files
from bus.errors import ConfigError, ProblemError
from schemas.patterns import PatternError
from schemas.safety import Safety

SETTING = "CALLBOARD_SAFETY_FILE"


def load(path: Path) -> Safety:
    """Read the rules from YAML or JSON, in the form of a policy's ``safety``.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    try:
        safety = files.of(path, Safety)
        demand_bounds(safety.rules)
    except ProblemError as error:
        raise ConfigError(SETTING, error.said()) from None
    except PatternError as error:
        raise ConfigError(SETTING, f"{path}: {error}") from None
    return safety
