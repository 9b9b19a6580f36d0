"""Segmentation: aligned scans to labels."""
