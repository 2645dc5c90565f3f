"""A streaming process: it calls the providers of models, and streams what they answer.

`python -m actors.streaming` starts one more; all that run share the work.
"""

from actors.streaming.actor import ACTOR
from bus.actor import main

if __name__ == "__main__":
    main(ACTOR, __doc__)
