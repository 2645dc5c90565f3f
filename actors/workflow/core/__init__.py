"""What the workflow engine decides, without input or output: nets, their proof, instances."""
