"""The transports of the Model Context Protocol, each behind ``core.upstream.Upstream``."""
