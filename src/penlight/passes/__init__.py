"""Rewrites of the edge graph, one per file; `pipeline` is the ordered list."""
