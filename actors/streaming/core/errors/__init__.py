"""What went wrong at a provider, in one vocabulary, however the provider says it."""
