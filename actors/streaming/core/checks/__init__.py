"""The conformance check: what is asked of an endpoint, and how answers are judged."""
