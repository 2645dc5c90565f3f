"""Print the settings, then the constants, as Markdown: ``python -m bus.config``."""

import sys

from bus.config.reference import constants, reference

sys.stdout.write(f"{reference()}\n{constants()}")
