"""Intake: what the user gives, as a case of scans without identity."""
