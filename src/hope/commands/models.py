"""hope models: which bundles there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.inputs import PATH

if TYPE_CHECKING:
    from hope.models.registry import ModelRegistry


def _registry() -> ModelRegistry:
    from hope.services import Services
    from hope.settings import Settings

    return Services(Settings.from_environment()).models


@click.group(short_help="List, show, add and remove model bundles.")
def models() -> None:
    """Model bundles: a directory or zip with model.json and safetensors weights. Nothing in one is ever unpickled."""


@models.command("list")
def list_models() -> None:
    """One line per bundle: id, version, head state wanted, spacing, licence, first digits of its sha256."""
    registry = _registry()
    for folder, reason in registry.problems().items():
        click.echo(f"not usable: {folder}: {reason}", err=True)
    for bundle in registry.list():
        facts = f"{bundle.head_state}, {bundle.spacing_mm:g} mm, {bundle.licence}, sha256 {bundle.sha256[:12]}"
        click.echo(f"{bundle.id:<20} {bundle.version:<10} {facts}")


@models.command("show")
@click.argument("model_id", metavar="ID")
def show(model_id: str) -> None:
    """Everything that a bundle says of itself: training data, measured figures, licence, limits."""
    bundle = _registry().get(model_id)
    click.echo(json.dumps({**bundle.manifest, "sha256": bundle.sha256}, indent=2, ensure_ascii=False))


@models.command("add")
@click.argument("source", type=PATH, metavar="FILE-OR-DIR")
@click.option("--id", "model_id", metavar="ID", help="The id that the bundle must carry.")
def add(source: Path, model_id: str | None) -> None:
    """Check a bundle's hashes and copy it to the models directory (HOPE_MODELS_DIR)."""
    bundle = _registry().add(source, model_id)
    click.echo(f"added {bundle.id} {bundle.version}, sha256 {bundle.sha256}")


@models.command("remove")
@click.argument("model_id", metavar="ID")
def remove(model_id: str) -> None:
    """Delete a bundle that was added; those that ship with the package stay."""
    _registry().remove(model_id)
    click.echo(f"removed {model_id}")
