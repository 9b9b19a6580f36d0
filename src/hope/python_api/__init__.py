"""The functions behind ``import hope``: the pipeline for a Python program, with images in memory or on disk."""
