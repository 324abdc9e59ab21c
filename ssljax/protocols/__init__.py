"""Protocols that evaluate a run folder: each gives labelled rows of one table."""
