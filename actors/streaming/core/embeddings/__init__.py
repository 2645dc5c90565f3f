"""Embeddings: the providers' formats, the vectors, and what each request has used."""
