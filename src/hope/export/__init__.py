"""Results in the forms of other programs: DICOM objects, Slicer and ITK-SNAP files, BIDS derivatives, tables."""
