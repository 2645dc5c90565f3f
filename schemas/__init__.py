"""What travels and what is decided: msgspec Structs, one module a domain. No I/O; imports nothing of ours."""
