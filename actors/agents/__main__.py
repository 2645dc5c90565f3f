"""An agents process: it answers requests about agents and executions, and owns executions.

`python -m actors.agents` starts one more; all that run share the work.
"""

from actors.agents.actor import ACTOR
from bus.actor import main

if __name__ == "__main__":
    main(ACTOR, __doc__)
