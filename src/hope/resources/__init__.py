"""Files that the package carries and reads at run time."""
