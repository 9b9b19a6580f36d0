"""HOPE: paediatric brain tumour segmentation from raw MRI. Research software, not a medical device."""

__version__ = "0.1.0"

DISCLAIMER = "Research use only. Not a medical device; not for diagnosis or treatment decisions."
