"""The course of a call: attempts, safety, keys and limits, embeddings, batches."""
