"""Seams where two implementations exist (a test fake counts)."""

from hope.ports.imaging import BrainExtractor, Harmonizer, Predictor
from hope.ports.platform import BlobInfo, BlobStore, CaseStore, JobQueue
from hope.ports.sessions import SessionStore

__all__ = [
    "BlobInfo",
    "BlobStore",
    "BrainExtractor",
    "CaseStore",
    "Harmonizer",
    "JobQueue",
    "Predictor",
    "SessionStore",
]
