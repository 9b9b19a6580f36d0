"""Harmonisation: aligned scans to scans of one intensity style."""
