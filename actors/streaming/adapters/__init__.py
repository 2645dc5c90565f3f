"""What touches the outside: HTTP and the model providers."""
