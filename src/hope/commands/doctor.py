"""hope doctor: is everything there?"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import click

from hope.commands.status import INPUT_WRONG
from hope.domain.extras import EXTRAS, missing_packages

if TYPE_CHECKING:
    from hope.settings import Settings

_PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "nibabel",
    "nilearn",
    "SimpleITK",
    "picsl_greedy",
    "deepbet",
    "dcm2niix",
    "pydicom",
)


@click.command(short_help="Check the installation and print the settings.")
def doctor() -> None:
    """Check that all parts are there and whole, and that networks can run as the settings say. Exit status 2 if not.

    Extras that are absent are listed; they are no fault.
    """
    from hope.domain.errors import HopeError
    from hope.formats.atlas import atlas_t1
    from hope.models.bundle import DEFAULT_MODEL
    from hope.services import Services
    from hope.settings import Settings

    settings = Settings.from_environment()
    click.echo(
        f"python     {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )
    for name, value in settings.to_json().items():
        click.echo(f"{name}={value}")
    absent_packages = _absent_packages()
    healthy = not absent_packages
    for extra in EXTRAS:
        absent = missing_packages(extra)
        click.echo(f"absent     extra [{extra}]: {', '.join(absent)}" if absent else f"ok         extra [{extra}]")
    if "torch" in absent_packages:
        click.echo("BROKEN     networks: none runs without torch")
    elif not _networks_run(settings):
        healthy = False
    try:
        atlas_t1()
        click.echo("ok         atlas")
        models = Services(settings).models
        models.get(DEFAULT_MODEL).verify()
        for bundle in models.list():
            bundle.verify()
            click.echo(f"ok         model {bundle.id} {bundle.version}")
        for folder, reason in models.problems().items():
            click.echo(f"UNUSABLE   model in {folder}: {reason}")
    except HopeError as error:
        healthy = False
        click.echo(f"BROKEN     {error}")
    if not healthy:
        raise SystemExit(INPUT_WRONG)


def _absent_packages() -> tuple[str, ...]:
    """Print a line for each package that hope asks for; return those that are not installed."""
    absent = []
    for package in _PACKAGES:
        try:
            click.echo(f"ok         {package} {version(package)}")
        except PackageNotFoundError:
            absent.append(package)
            click.echo(f"MISSING    {package}: reinstall hope-platform, unless this is the gateway's image")
    return tuple(absent)


def _networks_run(settings: Settings) -> bool:
    """Print how networks run under the settings, or why they cannot. It imports torch."""
    from hope.domain.errors import HopeError
    from hope.models.devices import choose_device
    from hope.models.execution import Precision, choose_precision

    try:
        device = choose_device(settings.device)
        precision = choose_precision(Precision(settings.precision), device)
    except HopeError as error:
        click.echo(f"BROKEN     {error}")
        return False
    mirrored = "with" if settings.mirroring == "on" else "without"
    click.echo(f"ok         networks: on {device}, an ensemble's in {precision}, {mirrored} mirroring")
    return True
