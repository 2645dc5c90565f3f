"""What travels and what is decided: msgspec Structs, one module a domain; no I/O."""
