"""Evaluation: how well a mask agrees with a reference mask."""
