"""A process of identity: it keeps tenants, members and keys.

`python -m actors.identity` starts one more; all that run share the work.
"""

from actors.identity.actor import ACTOR
from bus.actor import main

if __name__ == "__main__":
    main(ACTOR, __doc__)
