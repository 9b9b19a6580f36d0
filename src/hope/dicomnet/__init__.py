"""DICOM over a network: the listener, its spool, the way back to an archive, and the DICOMweb client."""
