"""The stages: typed functions, case in, case out."""
