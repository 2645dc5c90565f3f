"""Anthropic Messages, as its own service, Bedrock and Vertex AI speak it."""
