"""What a workflow is and does: pure."""
