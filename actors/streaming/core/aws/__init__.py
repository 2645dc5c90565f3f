"""AWS: signatures, the event stream, and the framings of Bedrock."""
