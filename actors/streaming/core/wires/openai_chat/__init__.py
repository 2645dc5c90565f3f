"""OpenAI Chat Completions, in all the dialects of the servers that speak it."""
