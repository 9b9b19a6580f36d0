"""A job on this machine, with a directory of cases for each site, in FLARE's simulator or in real processes with TLS.

Nothing stays behind.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hope.domain.errors import InputError, StageError
from hope.federated.jobs import RESULTS, kind_of_job
from hope.federated.poc import FETCHED, KITS, run_deployment, run_to_end
from hope.federated.policy import write_policy
from hope.formats.atomic import output_error
from hope.formats.private_directory import private_directory
from hope.settings import Settings
from hope.stages.report.result_folder import result_folder

RESULT: Final = "result.json"
SAID: Final = "flare.txt"
"""What FLARE's processes printed, in the directory that is kept."""
WORKSPACE: Final = "workspace"
LONGEST_ROOT: Final = 68
"""A socket's path has 104 characters on some systems; Python's own names below the directory take up to 34."""
_SERVER_RESULTS: Final = Path("server", "simulate_job", RESULTS)


def try_job(
    job: Path, sites: Sequence[Path], out: Path, at_once: int = 2, keep: Path | None = None, poc: bool = False
) -> list[str]:
    """Run a job on this machine.

    Args:
        job: what ``hope federate export`` wrote.
        sites: a directory of cases each; the sites are called site-1, site-2 and so on.
        out: the results go there.
        at_once: sites that work at the same time in the simulator.
        keep: FLARE's workspace with its logs goes there, to be looked at.
        poc: run a real server and real clients with certificates in place of the simulator.

    Returns:
        names of the files in ``out``.

    Raises:
        InputError: if the job or a site's directory cannot be used.
        OutputError: if the results cannot be written.
        StageError: if FLARE ends without a result.
    """
    kind_of_job(job)
    if any(not site.is_dir() for site in sites):
        raise InputError("a site's directory does not exist", expected="directories of cases after --sites")
    names = [f"site-{number}" for number in range(1, len(sites) + 1)]
    with private_directory() as root:
        if not poc and len(str(root)) > LONGEST_ROOT:
            raise InputError(
                "the path of the directory for temporary files is too long for the simulator's sockets",
                expected=f"{LONGEST_ROOT} characters with a directory of its own in it",
                got=str(len(str(root))),
                fix="set TMPDIR to a directory with a short path",
            )
        # What lies beside the configuration goes to the sites too: a copy holds only what we wrote.
        shutil.copytree(job, root / "job")
        (root / "sites").mkdir()
        for name, site in zip(names, sites, strict=True):
            (root / "sites" / name).symlink_to(site.resolve(), target_is_directory=True)
        (root / "home").mkdir()
        try:
            found = _deploy(root, names) if poc else _simulate(root, names, at_once)
        finally:
            if keep is not None:
                _keep(root, keep)
        if not (found / RESULT).is_file():
            raise StageError("FLARE ended without a result; --keep DIR keeps its logs")
        target = out.absolute()
        with result_folder(target.parent, target.name, RESULT) as folder:
            for file in sorted(found.iterdir()):
                shutil.copyfile(file, folder / file.name)
        return sorted(file.name for file in found.iterdir())


def _simulate(root: Path, names: Sequence[str], at_once: int) -> Path:
    """Run the simulator; gives the directory where the results should be."""
    write_policy(root / WORKSPACE / "local", "resources.json", "privacy.json")
    command = [
        *(sys.executable, "-m", "nvflare.private.fed.app.simulator.simulator", "job", "-w", WORKSPACE),
        *("-c", ",".join(names), "-t", str(min(at_once, len(names)))),
    ]
    with (root / SAID).open("wb") as said:
        run_to_end(command, root, _environment(root), said)
    return root / WORKSPACE / _SERVER_RESULTS


def _deploy(root: Path, names: Sequence[str]) -> Path:
    """Run real processes; gives the directory where the results should be."""
    fetched = run_deployment(root, names, _environment(root), root / SAID)
    return fetched / "workspace" / RESULTS if fetched else root / "nowhere"


def _environment(root: Path) -> dict[str, str]:
    """Of FLARE's processes: its home, its temporary files and the sites' audit lines lie in ``root``."""
    return {
        **os.environ,
        "HOME": str(root / "home"),
        "TMPDIR": str(root),
        "HOPE_DATA_DIR": str(root / "data"),
        "HOPE_MODELS_DIR": str(Settings.from_environment().models_dir.absolute()),
        "HOPE_FEDERATED_DATA": str(root / "sites" / "{site}"),
    }


def _keep(root: Path, keep: Path) -> None:
    try:
        for name in (WORKSPACE, KITS.parts[0], FETCHED):
            if (root / name).is_dir():
                shutil.copytree(root / name, keep / name, dirs_exist_ok=True, symlinks=True)
        if (root / SAID).is_file():
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / SAID, keep / SAID)
    except OSError as error:
        raise output_error("the kept workspace", error) from error
