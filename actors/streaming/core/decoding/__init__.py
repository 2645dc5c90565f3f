"""Reading JSON as servers write it: cut characters, odd counts, arguments in pieces."""
