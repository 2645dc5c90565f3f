"""Reading and shaping an answer: wire formats, faults, scripts and numbering, all without I/O."""
