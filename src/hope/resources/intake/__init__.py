"""What intake measures images against."""
