"""What a workflow reaches outside."""
