"""Retrieval: documents are read with docling in a separate process, chunked, stored and searched."""
