"""The demonstration that `python -m ferrograd` runs."""
