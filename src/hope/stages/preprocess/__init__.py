"""Preprocessing: raw scans to aligned scans on the atlas grid."""
