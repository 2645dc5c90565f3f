"""A pricing process: it prices calls, and owns the accounts of tenants and their budgets.

`python -m actors.pricing` starts one more; all that run share the work.
"""

from actors.pricing.actor import ACTOR
from bus.actor import main

if __name__ == "__main__":
    main(ACTOR, __doc__)
