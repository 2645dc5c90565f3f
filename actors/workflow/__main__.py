"""A workflow process: it answers requests about workflows and owns instances.

`python -m actors.workflow` starts one more; all that run share the work.
"""

from actors.workflow.actor import ACTOR
from bus.actor import main

if __name__ == "__main__":
    main(ACTOR, __doc__)
