"""Intensity styles that come with the package."""
