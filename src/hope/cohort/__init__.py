"""A cohort: clinical columns joined by case, and survival."""
