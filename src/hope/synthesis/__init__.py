"""Synthetic labelled cases: deformed anatomy, drawn tumours, four contrasts, a scanner's faults. No patient's data."""
