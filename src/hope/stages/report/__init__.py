"""Report: a result to the files that a person gets."""
