"""Environment -> wired ports. The only module that imports adapters, and only those that are chosen."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hope.adapters.predict_local import LocalPredictor
from hope.domain.errors import InputError
from hope.models.bundle import DEFAULT_MODEL
from hope.models.registry import ModelRegistry
from hope.ports import BlobStore, BrainExtractor, CaseStore, Predictor
from hope.settings import Settings


class Services:
    """What the entry points need, made when first asked for.

    Args:
        settings: what the environment chose.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = ModelRegistry(settings.models_dir)

    def predictor(
        self,
        model_id: str | None = None,
        device: str | None = None,
        precision: str | None = None,
        mirroring: bool | None = None,
    ) -> Predictor:
        """A predictor for one bundle; what is not given comes from the settings.

        Raises:
            InputError: if there is no such bundle.
        """
        return LocalPredictor(
            self.models.get(model_id or DEFAULT_MODEL),
            device or self.settings.device,
            precision or self.settings.precision,
            self.settings.mirroring == "on" if mirroring is None else mirroring,
        )

    def brain_extractor(self) -> BrainExtractor:
        """The brain extraction that comes with the package."""
        from hope.models.brain_deepbet import DeepbetExtractor

        return DeepbetExtractor()

    @cached_property
    def store(self) -> CaseStore:
        """The platform's metadata, its schema brought up to date.

        Raises:
            InputError: if the database's URL is of a kind that is not supported.
        """
        from hope.adapters.cases_sql import SqlCaseStore

        return SqlCaseStore(self._database_url())

    @cached_property
    def blobs(self) -> BlobStore:
        """Where voxels are kept.

        Raises:
            InputError: if the URL is of a kind that is not supported.
        """
        url = self.settings.platform.blobs_url
        parts = urlsplit(url)
        if parts.scheme == "file":
            from hope.adapters.blobs_local import LocalBlobs

            return LocalBlobs(Path(unquote(parts.path)))
        if parts.scheme == "s3":
            from hope.adapters.blobs_s3 import S3Blobs

            return S3Blobs(url, self.settings.platform.s3_endpoint_url)
        raise InputError("HOPE_BLOBS_URL is not usable", expected="file:///DIRECTORY or s3://BUCKET/PREFIX", got=url)

    def queue(self, executor: str) -> Any:
        """The engine of this process: a `hope.adapters.queue_dbos.DbosQueue`.

        Args:
            executor: this process's id.
        """
        from hope.adapters.queue_dbos import DbosQueue

        url = self._database_url()
        if url.startswith("sqlite"):
            # A file of its own: the engine writes all the time, and SQLite lets one write at a time.
            stem, dot, ending = url.rpartition(".")
            url = f"{stem}-engine.{ending}" if dot else f"{url}-engine"
        return DbosQueue(url, executor, self.settings.platform.poll_seconds)

    def model_list(self) -> list[dict[str, Any]]:
        """The bundles that can be chosen, for the API: id, title, licence and the like."""
        return [
            {
                "id": bundle.id,
                "version": bundle.version,
                "title": str(bundle.manifest.get("title") or bundle.id),
                "licence": bundle.licence,
                "default": bundle.id == DEFAULT_MODEL,
                "note": str(bundle.manifest.get("note") or ""),
                "sequences": [str(s) for s in bundle.sequences],
                "optional": sorted(str(s) for s in bundle.optional),
                "max_missing": bundle.max_missing,
                "sha256": bundle.sha256,
            }
            for bundle in self.models.list()
        ]

    def _database_url(self) -> str:
        url = self.settings.platform.database_url
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise InputError(
                "HOPE_DATABASE_URL is not usable",
                expected="sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE",
                got=url.partition("://")[0] + "://...",
            )
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return url
