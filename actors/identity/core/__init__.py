"""What identity decides: who may give which key to whom, and what one opens. Pure."""
