"""The workflow engine: it owns definitions of workflows and the instances that run them."""
