"""Skeleton and style sheet of the HTML report."""
