"""Ensembles of several architectures with several folds each, run in one process."""
