"""Several dates of one patient: registration, change per region, lesions matched, growth."""
