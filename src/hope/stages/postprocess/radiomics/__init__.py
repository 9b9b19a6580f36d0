"""Radiomics of the whole tumour: 386 numbers that say which kind of case this is.

The names, their order and every convention are those of pyradiomics 3.0.1 with ``normalize: true``, because published
cluster models were trained on its output. The formulas are written from the IBSI manual and the pyradiomics manual;
pyradiomics itself needs a compiler, so it is used for reference vectors only (tests/golden).
"""

from hope.domain.feature_names import FEATURE_NAMES
from hope.stages.postprocess.radiomics.features import tumour_features

__all__ = ["FEATURE_NAMES", "tumour_features"]
