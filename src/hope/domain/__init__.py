"""Pure facts of the problem: grids, volumes, labels, cases, errors. Imports numpy alone."""
