"""What is found in a net before it runs. Pure, and bounded in work.

``checking`` is the door. ``structure``, ``actions`` and ``starting`` look at what is written,
``guarding`` at which guards may hold together, ``abstracting`` makes a net without data of it, in
which ``moving`` says what may happen, ``exploring`` finds all markings, ``outcomes`` says what is
wrong with these, and ``counting`` how much one run may do at most. ``pricing`` makes money of that.
"""
