"""Bytes at a URL: exact keys, and one primitive that elects a winner. This package alone imports fsspec."""
