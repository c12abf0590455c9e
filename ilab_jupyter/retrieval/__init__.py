"""Documents: read with docling in a process of their own, chunked, kept in a store and found again."""
