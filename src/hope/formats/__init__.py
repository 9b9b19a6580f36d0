"""Bytes to domain and back: NIfTI, DICOM, the atlas. The only place where LPS meets RAS."""
