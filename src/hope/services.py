"""Environment -> wired ports. The only module that imports adapters."""

from __future__ import annotations

from hope.adapters.predict_local import LocalPredictor
from hope.models.bundle import DEFAULT_MODEL
from hope.models.registry import ModelRegistry
from hope.ports import BrainExtractor, Predictor
from hope.settings import Settings


class Services:
    """What the entry points need, made when first asked for.

    Args:
        settings: what the environment chose.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = ModelRegistry(settings.models_dir)

    def predictor(self, model_id: str | None = None, device: str | None = None) -> Predictor:
        """A predictor for one bundle.

        Raises:
            InputError: if there is no such bundle.
        """
        return LocalPredictor(self.models.get(model_id or DEFAULT_MODEL), device or self.settings.device)

    def brain_extractor(self) -> BrainExtractor:
        """The brain extraction that comes with the package."""
        from hope.models.brain_deepbet import DeepbetExtractor

        return DeepbetExtractor()
