"""hope models: which bundles there are, and releases of them in a bucket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.console import ConsoleProgress
from hope.commands.inputs import PATH
from hope.domain.case import SEQUENCES, HeadState
from hope.domain.errors import InputError
from hope.domain.progress import Progress

if TYPE_CHECKING:
    from hope.models.bundle import Bundle
    from hope.models.registry import ModelRegistry
    from hope.services import Services


def _services() -> Services:
    from hope.services import Services
    from hope.settings import Settings

    return Services(Settings.from_environment())


def _registry() -> ModelRegistry:
    return _services().models


@click.group(short_help="List, show, add, remove, push and pull model bundles.")
def models() -> None:
    """Model bundles: a directory or zip with model.json and safetensors weights. Nothing in one is ever unpickled."""


@models.command("list")
def list_models() -> None:
    """One line per bundle: id, version, head state wanted, what it is, licence, first digits of its sha256."""
    registry = _registry()
    for folder, reason in registry.problems().items():
        click.echo(f"not usable: {folder}: {reason}", err=True)
    for bundle in registry.list():
        facts = f"{bundle.head_state}, {_networks(bundle)}, {bundle.licence}, sha256 {bundle.sha256[:12]}"
        click.echo(f"{bundle.id:<20} {bundle.version:<10} {facts}")


def _networks(bundle: Bundle) -> str:
    from hope.models.bundle import HARMONIZER, POSTPROCESS

    if bundle.kind == HARMONIZER:
        return f"{HARMONIZER} of {', '.join(bundle.sequences)}"
    if not bundle.groups:
        return f"{bundle.spacing_mm:g} mm"
    total = sum(group.weight for group in bundle.groups)
    several = len(bundle.groups) > 1
    groups = (
        f"{g.name} x{len(g.members)}" + (f" (weight {g.weight / total:.3f})" if several else "") for g in bundle.groups
    )
    return " + ".join(groups) + (", own post-processing" if POSTPROCESS in bundle.manifest["files"] else "")


@models.command("show")
@click.argument("model_id", metavar="ID")
def show(model_id: str) -> None:
    """Everything that a bundle says of itself: networks, training data, measured figures, licence, limits."""
    bundle = _registry().get(model_id)
    click.echo(json.dumps({**bundle.manifest, "sha256": bundle.sha256}, indent=2, ensure_ascii=False))


def _sequences(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(name.strip().lower() for name in value.split(","))
    if len(set(names)) != len(names) or not set(names) <= set(map(str, SEQUENCES)):
        raise click.BadParameter(f"expected different ones of {','.join(SEQUENCES)}, with commas between")
    return names


def _weights(_context: click.Context, _option: click.Parameter, value: str | None) -> dict[str, float] | None:
    if value is None:
        return None
    weights = {}
    try:
        for entry in value.split(","):
            name, _, number = entry.partition("=")
            weights[name.strip().lower()] = float(number)
    except ValueError as error:
        raise click.BadParameter("expected, for example, nnunet=0.33,mednext=0.34,swinunetr=0.33") from error
    return weights


@models.command("add")
@click.argument("sources", type=PATH, metavar="SOURCE...", nargs=-1, required=True)
@click.option("--id", "model_id", metavar="ID", help="The id of the bundle; needed for checkpoints made elsewhere.")
@click.option("--sequences", metavar="A,B,C,D", callback=_sequences, help="Input channels in order: t1n,t1c,t2w,t2f.")
@click.option("--head-state", type=click.Choice(["full", "brain"]), help="What the training images showed.")
@click.option("--licence", metavar="TEXT", help="Licence of the weights, such as CC-BY-NC-SA-4.0.")
@click.option("--weights", metavar="NAME=W,...", callback=_weights, help="Weights of nnunet, mednext and swinunetr.")
@click.option("--title", metavar="TEXT", help="What a person calls the model.")
def add(
    sources: tuple[Path, ...],
    model_id: str | None,
    sequences: tuple[str, ...] | None,
    head_state: str | None,
    licence: str | None,
    weights: dict[str, float] | None,
    title: str | None,
) -> None:
    """Add a bundle, or checkpoints made elsewhere, to the models directory (HOPE_MODELS_DIR).

    SOURCE is a bundle of our own (directory or zip), whose hashes are checked, or any number of files, directories and
    zips that hold checkpoints of nnU-Net v2, MedNeXt and SwinUNETR, a cluster model and threshold files, or the
    harmonizer's harmonization.pt alone. Pickles in them are read without being run.
    """
    from hope.models.importers.choices import ImportChoices
    from hope.models.registry import holds_bundle

    said = ImportChoices(sequences, HeadState(head_state) if head_state else None, licence, weights, title)
    own = [source for source in sources if holds_bundle(source)]
    if own and (len(sources) > 1 or said != ImportChoices()):
        raise InputError(f"{own[0].name} is a bundle already, which says all this itself", fix="add it alone, as it is")
    if own or (len(sources) == 1 and not sources[0].exists()):
        bundle = _registry().add(sources[0], model_id)
    elif model_id is None:
        raise InputError(
            f"no model bundle here: {sources[0].name} holds no model.json", fix="to import checkpoints, give --id ID"
        )
    else:
        with ConsoleProgress() as progress:
            bundle = _registry().add_published(sources, model_id, said, _but_assumptions(progress))
        for message in bundle.manifest["source"]["assumed"]:
            click.echo(f"assumed: {message}", err=True)
    click.echo(f"added {bundle.id} {bundle.version}, sha256 {bundle.sha256}")


def _but_assumptions(progress: Progress) -> Progress:
    """Progress without the assumptions, which are listed at the end."""
    return lambda message, share: None if message.startswith("assumed: ") else progress(message, share)


@models.command("combine")
@click.argument("folders", type=PATH, metavar="BUNDLE...", nargs=-1, required=True)
@click.option("--id", "model_id", metavar="ID", required=True, help="The id of the new bundle.")
@click.option("-o", "--output", type=PATH, required=True, help="A new folder for it.")
def combine(folders: tuple[Path, ...], model_id: str, output: Path) -> None:
    """Make one bundle that answers with the mean of several, such as the networks of `hope train schedule`'s folds.

    BUNDLE is a folder of a single network as `hope train` makes it; all of one shape. Intervals, expected quality and
    measured figures of the members are not true of their mean and are left out. A case takes as long as it takes all of
    them.
    """
    from hope.models.bundle import read_bundle
    from hope.models.combine import combine_bundles

    bundle = combine_bundles([read_bundle(folder) for folder in folders], output, model_id)
    click.echo(f"{bundle.id}: the mean of {len(folders)} networks, sha256 {bundle.sha256}")


@models.command("remove")
@click.argument("model_id", metavar="ID")
def remove(model_id: str) -> None:
    """Delete a bundle that was added; those that ship with the package stay."""
    _registry().remove(model_id)
    click.echo(f"removed {model_id}")


@models.command("push")
@click.argument("model_id", metavar="ID")
@click.argument("location", metavar="S3-URL")
def push(model_id: str, location: str) -> None:
    """Release a bundle to s3://BUCKET/PREFIX, as ID/VERSION below it.

    A release never changes: the same bytes once more do nothing, other bytes of the same id and version are refused.
    """
    services = _services()
    bundle = services.models.get(model_id)
    with ConsoleProgress() as progress:
        pushed = services.bucket_models().push(bundle, location, progress)
    what = f"{bundle.id} {bundle.version}, sha256 {bundle.sha256}"
    click.echo(f"pushed {what}" if pushed else f"already there: {what}")


@models.command("pull")
@click.argument("location", metavar="S3-URL")
@click.option("--id", "model_id", metavar="ID", help="Which model, if the location holds several.")
@click.option("--version", metavar="VERSION", help="Which version, if there are several.")
def pull(location: str, model_id: str | None, version: str | None) -> None:
    """Install a release from s3://BUCKET/PREFIX, or a folder in it, after checking every hash."""
    services = _services()
    with ConsoleProgress() as progress:
        release = services.bucket_models().find(location, model_id, version)
        pulled = services.bucket_models().pull(release, services.models, progress)
    what = f"{release.id} {release.version}, sha256 {release.sha256}"
    click.echo(f"pulled {what}" if pulled else f"already here: {what}")
