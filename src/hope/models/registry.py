"""Which model bundles there are: those shipped with the package, and those the user added."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hope.domain.errors import BundleError, InputError
from hope.domain.extras import require_extras
from hope.domain.progress import Progress, silent
from hope.formats.archive import MAX_FILES, extract_zip, is_zip
from hope.formats.atomic import output_error
from hope.formats.reading import reading
from hope.formats.zip_directory import check_entry_count
from hope.models.bundle import BUNDLED, MANIFEST, Bundle, read_bundle
from hope.models.importers.choices import ImportChoices

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_id(model_id: str) -> None:
    """Whether a bundle may have this id.

    Raises:
        InputError: if not.
    """
    if not _ID.fullmatch(model_id):
        raise InputError("the model's id is not usable", expected="a-z, 0-9, dot, dash, underscore", got=model_id)


def holds_bundle(source: Path) -> bool:
    """Whether a directory or zip is a bundle of our own, and not checkpoints to import.

    Raises:
        InputError: if it cannot be read.
    """
    if source.is_dir():
        return (source / MANIFEST).is_file()
    with reading(source.name):
        if not is_zip(source):
            return False
        with source.open("rb") as file:
            check_entry_count(file, MAX_FILES)
        with suppress(zipfile.BadZipFile, NotImplementedError), zipfile.ZipFile(source) as archive:
            return any(name.rpartition("/")[2] == MANIFEST for name in archive.namelist())
    return False


class ModelRegistry:
    """Bundles by id.

    Args:
        user_folder: where added bundles are kept; need not exist yet.
    """

    def __init__(self, user_folder: Path) -> None:
        self.user_folder = user_folder

    def _folders(self) -> Iterator[Path]:
        for root in (BUNDLED, self.user_folder):
            if root.is_dir():
                # A name with a dot in front is a bundle that is still being copied.
                yield from (p for p in sorted(root.iterdir()) if (p / MANIFEST).is_file() and p.name[0] != ".")

    def list(self, kind: str | None = None) -> list[Bundle]:
        """Usable bundles, shipped ones first, each group by id; ``problems`` has the others.

        Args:
            kind: ``SEGMENTER`` or ``HARMONIZER``; None for both.
        """
        bundles = []
        for folder in self._folders():
            with suppress(BundleError):
                bundles.append(read_bundle(folder))
        # A user's bundle never takes the place of one that ships, nor a copy that of the one that was added under the
        # id, even if that is damaged: `problems` names them.
        ids = {bundle.folder: bundle.id for bundle in bundles}
        bundles = [bundle for bundle in bundles if not self._is_copy(bundle, ids)]
        first: dict[str, Bundle] = {}
        for bundle in bundles:
            first.setdefault(bundle.id, bundle)
        return [bundle for bundle in first.values() if kind in (None, bundle.kind)]

    def _is_copy(self, bundle: Bundle, ids: Mapping[Path, str]) -> bool:
        """Whether another directory of the user's has the name that is this bundle's id, and is no model of another id.

        Args:
            bundle: which.
            ids: of the usable bundles, by directory.
        """
        named = self.user_folder / bundle.id
        if bundle.folder.parent == BUNDLED or bundle.folder.name == bundle.id:
            return False
        return (named / MANIFEST).is_file() and ids.get(named, bundle.id) == bundle.id

    def problems(self) -> dict[str, str]:
        """Folder name and reason of every bundle that this version cannot use."""
        found: dict[str, str] = {}
        shipped = {folder.name for folder in self._folders() if folder.parent == BUNDLED}
        used = {bundle.folder for bundle in self.list()}
        for folder in self._folders():
            try:
                bundle = read_bundle(folder)
            except BundleError as error:
                found[folder.name] = str(error)
                continue
            if folder.parent != BUNDLED and bundle.id in shipped:
                found[folder.name] = f"a model that ships is called {bundle.id}: remove it, and add it under another id"
            elif folder not in used:
                found[folder.name] = f"another directory is the model {bundle.id}: remove this one by its own name"
        return found

    def get(self, model_id: str, kind: str | None = None) -> Bundle:
        """The bundle with this id.

        Args:
            model_id: its id.
            kind: what it is wanted for, ``SEGMENTER`` or ``HARMONIZER``; None for whatever it is for.

        Raises:
            BundleError: if it is there but not usable.
            InputError: if there is none, or it is for something else; the sentence lists those there are.
        """
        every = {bundle.id: bundle for bundle in self.list()}
        known = {name: bundle for name, bundle in every.items() if kind in (None, bundle.kind)}
        if model_id in known:
            return known[model_id]
        if model_id in every:
            raise InputError(
                f"{model_id} is a {every[model_id].kind}, not a {kind}",
                expected=f"one of {', '.join(known) or '(none installed)'}",
            )
        if model_id in (problems := self.problems()):
            raise BundleError(f"model {model_id}: {problems[model_id]}")
        raise InputError(
            f"no model called {model_id!r}",
            expected=f"one of {', '.join(known) or '(none installed)'}",
            fix="see `hope models list`, or add a bundle with `hope models add`",
        )

    def add(self, source: Path, model_id: str | None = None) -> Bundle:
        """Copy a bundle (directory or zip) into the user's folder after checking every hash.

        Raises:
            InputError: if the id is taken or not usable, or the source does not exist.
            BundleError: if the bundle is damaged.
            OutputError: if the user's folder cannot be written.
        """
        if not source.exists():
            raise InputError("the model to add does not exist", expected="a bundle directory or zip", got="nothing")
        with tempfile.TemporaryDirectory(prefix="hope-model-") as scratch:
            folder = source
            if source.is_file():
                folder = Path(scratch) / "bundle"
                extract_zip(source, folder)
                inner = [p.parent for p in sorted(folder.rglob(MANIFEST))]
                if len(inner) != 1:
                    raise BundleError(f"the zip should hold one {MANIFEST}, it holds {len(inner)}")
                folder = inner[0]
            bundle = read_bundle(folder)
            bundle.refuse_links()
            bundle.verify()
            if model_id not in (None, bundle.id):
                raise InputError(
                    "a bundle keeps the id it was made with",
                    expected=bundle.id,
                    got=str(model_id),
                    fix="leave out --id",
                )
            if not _ID.fullmatch(bundle.id):
                raise BundleError(f"the bundle's id {bundle.id!r} may hold only a-z, 0-9, dot, dash and underscore")
            if bundle.id in {b.id for b in self.list()}:
                raise InputError(f"a model {bundle.id} is already there", fix=f"`hope models remove {bundle.id}` first")
            try:
                self._copy(folder, bundle)
            except OSError as error:
                raise output_error("the models directory", error) from error
        return read_bundle(self.user_folder / bundle.id)

    def add_published(
        self,
        sources: Sequence[Path],
        model_id: str,
        choices: ImportChoices | None = None,
        progress: Progress = silent,
    ) -> Bundle:
        """Import published checkpoints as a bundle in the user's folder; nothing stays there if that fails.

        Args:
            sources: files, directories and zips.
            model_id: of the new bundle.
            choices: what the files do not say.
            progress: called with what is being done, and every assumption.

        Raises:
            InputError: if the id is taken or not usable, or a source is missing or not clear.
            BundleError: if a source is damaged or not supported.
            OutputError: if the user's folder cannot be written.
        """
        require_extras("importing checkpoints made elsewhere", "ensemble")
        from hope.models.importers.assemble import import_bundle  # torch, which the gateway must not load

        check_id(model_id)
        if model_id in {b.id for b in self.list()} or (self.user_folder / model_id).exists():
            raise InputError(f"a model {model_id} is already there", fix=f"`hope models remove {model_id}` first")
        try:
            self.user_folder.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=self.user_folder))
        except OSError as error:
            raise output_error("the models directory", error) from error
        try:
            import_bundle(sources, model_id, choices or ImportChoices(), staging, progress)
            try:
                staging.chmod(0o755)
                staging.rename(self.user_folder / model_id)
            except OSError as error:
                raise output_error("the models directory", error) from error
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return read_bundle(self.user_folder / model_id)

    def _copy(self, folder: Path, bundle: Bundle) -> None:
        self.user_folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=self.user_folder))
        try:
            for name in (MANIFEST, *bundle.manifest["files"]):
                shutil.copyfile(folder / name, staging / name)
            staging.chmod(0o755)
            staging.rename(self.user_folder / bundle.id)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def remove(self, model_id: str) -> None:
        """Delete a bundle that the user added, usable or not.

        Raises:
            InputError: if there is none, or it is one that ships with the package.
        """
        # A directory may have another name than its model's id, and be named after another model.
        usable = {bundle.folder: bundle.id for bundle in self.list() if bundle.folder.parent != BUNDLED}
        folder = next((f for f, own in usable.items() if own == model_id), self.user_folder / model_id)
        is_another = usable.get(folder, model_id) != model_id
        if _ID.fullmatch(model_id) and not is_another and (folder / MANIFEST).is_file():
            shutil.rmtree(folder)
            return
        bundle = self.get(model_id)
        raise InputError(f"the model {bundle.id} ships with the package and cannot be removed")
