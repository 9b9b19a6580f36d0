"""A job on this machine: FLARE's simulator, a directory of cases for each site, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hope.domain.errors import InputError, StageError
from hope.federated.jobs import kind_of_job
from hope.federated.policy import write_policy
from hope.formats.atomic import output_error
from hope.formats.bounded_program import bounded_command
from hope.settings import Settings
from hope.stages.report.result_folder import result_folder

RESULT: Final = "result.json"
SAID: Final = "simulator.txt"
"""What the simulator printed, in the workspace that is kept."""
LONGEST_ROOT: Final = 68
"""A socket's path has 104 characters on some systems; Python's own names below the directory take up to 34."""
_SERVER_RESULTS: Final = Path("server", "simulate_job", "hope")


def try_job(job: Path, sites: Sequence[Path], out: Path, at_once: int = 2, keep: Path | None = None) -> list[str]:
    """Run a job with FLARE's simulator.

    Args:
        job: what ``hope federate export`` wrote.
        sites: a directory of cases each; the sites are called site-1, site-2 and so on.
        out: the results go there.
        at_once: sites that work at the same time.
        keep: FLARE's workspace with its logs goes there, to be looked at.

    Returns:
        names of the files in ``out``.

    Raises:
        InputError: if the job or a site's directory cannot be used.
        OutputError: if the results cannot be written.
        StageError: if the simulator ends without a result.
    """
    kind_of_job(job)
    if any(not site.is_dir() for site in sites):
        raise InputError("a site's directory does not exist", expected="directories of cases after --sites")
    names = [f"site-{number}" for number in range(1, len(sites) + 1)]
    with tempfile.TemporaryDirectory(prefix="hope-") as private:
        root = Path(private)
        if len(private) > LONGEST_ROOT:
            raise InputError(
                "the path of the directory for temporary files is too long for the simulator's sockets",
                expected=f"{LONGEST_ROOT} characters with a directory of its own in it",
                got=str(len(private)),
                fix="set TMPDIR to a directory with a short path",
            )
        workspace = root / "workspace"
        write_policy(workspace / "local", "resources.json", "privacy.json")
        # What lies beside the configuration goes to the sites too: a copy holds only what we wrote.
        shutil.copytree(job, root / "job")
        (root / "sites").mkdir()
        for name, site in zip(names, sites, strict=True):
            (root / "sites" / name).symlink_to(site.resolve(), target_is_directory=True)
        _simulate(root, names, at_once)
        if keep is not None:
            _keep(root, keep)
        found = workspace / _SERVER_RESULTS
        if not (found / RESULT).is_file():
            raise StageError("the simulator ended without a result; --keep DIR keeps its logs")
        target = out.absolute()
        with result_folder(target.parent, target.name, RESULT) as folder:
            for file in sorted(found.iterdir()):
                shutil.copyfile(file, folder / file.name)
        return sorted(file.name for file in found.iterdir())


def _simulate(root: Path, names: Sequence[str], at_once: int) -> None:
    """Run the simulator; its home, its temporary files and the sites' audit lines lie in ``root``."""
    (root / "home").mkdir()
    command = [
        *(sys.executable, "-m", "nvflare.private.fed.app.simulator.simulator", "job", "-w", "workspace"),
        *("-c", ",".join(names), "-t", str(min(at_once, len(names)))),
    ]
    settings = Settings.from_environment()
    environment = {
        **os.environ,
        "HOME": str(root / "home"),
        "TMPDIR": str(root),
        "HOPE_DATA_DIR": str(root / "data"),
        "HOPE_MODELS_DIR": str(settings.models_dir.absolute()),
        "HOPE_FEDERATED_DATA": str(root / "sites" / "{site}"),
    }
    with (root / SAID).open("wb") as said:
        subprocess.run(
            bounded_command(command, {}),
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            check=False,
        )


def _keep(root: Path, keep: Path) -> None:
    try:
        shutil.copytree(root / "workspace", keep, dirs_exist_ok=True)
        shutil.copyfile(root / SAID, keep / SAID)
    except OSError as error:
        raise output_error("the kept workspace", error) from error
