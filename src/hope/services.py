"""Environment -> wired ports. The only module that imports adapters, and only those that are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from hope.adapters.predict_local import LocalPredictor
from hope.domain.errors import InputError
from hope.domain.extras import require_extras
from hope.models.bundle import DEFAULT_MODEL, HARMONIZER, SEGMENTER
from hope.models.registry import ModelRegistry
from hope.ports import BlobStore, BrainExtractor, CaseStore, Harmonizer, Predictor
from hope.settings import Settings

DEFAULT_SEGMENTER = DEFAULT_MODEL
"""For who may not import models, as the endpoint."""
DEFAULT_HARMONIZER = "hail-starter"
"""The bundle that the method ``hail`` runs if none is named."""

if TYPE_CHECKING:
    from hope.adapters.models_s3 import BucketModels
    from hope.adapters.proxy_bucket import Objects


@dataclass(frozen=True)
class StagingLocation:
    """Where the copy of a case is kept on its way to a model that runs elsewhere.

    Attributes:
        key: below the proxy bucket's prefix, ends in a slash; the predictor chooses one if it is empty.
        scratch: folder for the files before and after; the system's own if not given.
    """

    key: str = ""
    scratch: Path | None = None


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
        *,
        where: str | None = None,
        copy: StagingLocation | None = None,
    ) -> Predictor:
        """A predictor for one bundle; what is not given comes from the settings.

        Args:
            model_id: the bundle.
            device: where it computes, if it runs here.
            precision: arithmetic of an ensemble's networks, if it runs here.
            mirroring: test-time mirroring of an ensemble, if it runs here.
            where: local or sagemaker.
            copy: where the case is kept on its way to a model that runs elsewhere.

        Raises:
            InputError: if there is no such bundle, or one of these does not go with the place where it runs, or what it
                needs is not installed.
        """
        bundle = self.models.get(model_id or DEFAULT_SEGMENTER, SEGMENTER)
        if not self.runs_elsewhere(bundle.id, where):
            if bundle.groups:
                require_extras(f"the model {bundle.id}", "ensemble")
            return LocalPredictor(
                bundle,
                device or self.settings.device,
                precision or self.settings.precision,
                self.settings.mirroring == "on" if mirroring is None else mirroring,
            )
        if (device, precision, mirroring) != (None, None, None):
            raise InputError(
                f"the model {bundle.id} runs at an endpoint, which has its own device, precision and mirroring",
                fix="leave these out, or let it run here with `--predictor local`",
            )
        require_extras("a model at SageMaker", "aws")
        from hope.adapters.predict_sagemaker import Endpoint, SageMakerPredictor

        chosen, place = self.settings.sagemaker, copy or StagingLocation()
        endpoint = Endpoint(
            chosen.endpoint, chosen.bucket, chosen.timeout_seconds, chosen.sns_queue_url, chosen.endpoint_url
        )
        return SageMakerPredictor(bundle, endpoint, self.objects(), place.key, place.scratch)

    def runs_elsewhere(self, model_id: str | None, where: str | None = None) -> bool:
        """Whether a bundle runs at SageMaker's endpoint; ``where`` (local or sagemaker) overrules the settings."""
        if where is not None:
            return where == "sagemaker"
        listed = self.settings.sagemaker.model_ids
        return self.settings.predictor == "sagemaker" and (not listed or (model_id or DEFAULT_SEGMENTER) in listed)

    def harmonizer(self, method: str | None = None, model: str | None = None) -> Harmonizer:
        """The harmonizer of a method, ``histogram`` if neither a method nor a model is named.

        Args:
            method: histogram or hail.
            model: id of the harmonizer's bundle, ours if none is named.

        Raises:
            InputError: if there is no such method or bundle, or a method that runs none is to run one.
        """
        if method == "histogram" and model:
            raise InputError("the method histogram runs no model", fix="choose hail, or leave the model out")
        if method in (None, "histogram") and not model:
            from hope.stages.harmonize.histogram import HistogramHarmonizer

            return HistogramHarmonizer()
        if method not in (None, "hail"):
            raise InputError("there is no such way to harmonize", expected="histogram or hail", got=str(method))
        from hope.models.hail.choose import harmonizer_of
        from hope.stages.harmonize.anatomy_check import guard
        from hope.stages.harmonize.lesion_prior import healthy_brain

        bundle = self.models.get(model or DEFAULT_HARMONIZER, HARMONIZER)
        return harmonizer_of(bundle, self.settings.device, healthy_brain, guard)

    def brain_extractor(self) -> BrainExtractor:
        """The brain extraction that comes with the package."""
        from hope.models.brain_deepbet import DeepbetExtractor

        return DeepbetExtractor()

    @cached_property
    def store(self) -> CaseStore:
        """The platform's metadata, its schema brought up to date.

        Raises:
            InputError: if the database's URL is of a kind that is not supported, or the extra [server] is missing.
        """
        require_extras("the platform's database", "server")
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
            require_extras("HOPE_BLOBS_URL with S3", "aws")
            from hope.adapters.blobs_s3 import S3Blobs

            return S3Blobs(url, self.settings.platform.s3_endpoint_url)
        raise InputError("HOPE_BLOBS_URL is not usable", expected="file:///DIRECTORY or s3://BUCKET/PREFIX", got=url)

    @cached_property
    def staging(self) -> BlobStore | None:
        """The proxy bucket, where cases are copied that go to an endpoint; None if there is none.

        Raises:
            InputError: if its location is not usable.
        """
        if not self.settings.sagemaker.bucket:
            return None
        require_extras("HOPE_SAGEMAKER_BUCKET", "aws")
        from hope.adapters.blobs_s3 import S3Blobs

        return S3Blobs(self.settings.sagemaker.bucket, self.settings.platform.s3_endpoint_url, "HOPE_SAGEMAKER_BUCKET")

    def objects(self) -> Objects:
        """What lies anywhere in S3: the proxy bucket, and what an endpoint is told to read and write."""
        return self._objects

    def bucket_models(self) -> BucketModels:
        """Releases of models in buckets."""
        require_extras("a bucket of models", "aws")
        from hope.adapters.models_s3 import BucketModels

        return BucketModels(self.objects())

    @cached_property
    def _objects(self) -> Objects:
        require_extras("what lies in S3", "aws")
        from hope.adapters.proxy_bucket import Objects

        return Objects(self.settings.platform.s3_endpoint_url, self.settings.sagemaker.kms_key)

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
                "default": bundle.id == DEFAULT_SEGMENTER,
                "note": str(bundle.manifest.get("note") or ""),
                "sequences": [str(s) for s in bundle.sequences],
                "optional": sorted(str(s) for s in bundle.optional),
                "max_missing": bundle.max_missing,
                "at_least_one_of": sorted(str(s) for s in bundle.at_least_one_of),
                "sha256": bundle.sha256,
            }
            for bundle in self.models.list(SEGMENTER)
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
