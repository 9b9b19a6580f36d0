"""A job on this machine, with a directory of cases for each site, in FLARE's simulator or in real processes with TLS.

Nothing stays behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hope.domain.errors import InputError, OutputError, StageError
from hope.federated.jobs import RESULTS, kind_of_job
from hope.federated.poc import FETCHED, KITS, run_deployment, run_to_end
from hope.federated.policy import write_policy
from hope.formats.atomic import output_error, write_together
from hope.formats.hashing import sha256_of, sha256_of_all
from hope.formats.private_directory import private_directory
from hope.settings import Settings
from hope.stages.report.made_from import MadeFrom, refuse_other_file, with_facts
from hope.stages.report.result_folder import Destination, refuse_to_replace, result_folder

RESULT: Final = "result.json"
KEPT: Final = "kept.json"
"""Says in the directory that is kept what the job was run on, by hashes."""
SAID: Final = "flare.txt"
"""What FLARE's processes printed, in the directory that is kept."""
WORKSPACE: Final = "workspace"
LONGEST_ROOT: Final = 68
"""A socket's path has 104 characters on some systems; Python's own names below the directory take up to 34."""
_SERVER_RESULTS: Final = Path("server", "simulate_job", RESULTS)


def try_job(
    job: Path,
    sites: Sequence[Path],
    out: Path | Destination,
    at_once: int = 2,
    keep: Path | None = None,
    poc: bool = False,
) -> list[str]:
    """Run a job on this machine.

    Args:
        job: what ``hope federate export`` wrote.
        sites: a directory of cases each; the sites are called site-1, site-2 and so on.
        out: the results go there; what lies there, or in ``keep``, is replaced if it is of the same job and cases, else
            only if a `Destination` says so.
        at_once: sites that work at the same time in the simulator.
        keep: FLARE's workspace with its logs goes there, to be looked at.
        poc: run a real server and real clients with certificates in place of the simulator.

    Returns:
        names of the files in the results' directory.

    Raises:
        InputError: if the job or a site's directory cannot be used.
        OutputError: if the results cannot be written, or would replace what must not be replaced.
        StageError: if FLARE ends without a result.
    """
    kind_of_job(job)
    if any(not site.is_dir() for site in sites):
        raise InputError("a site's directory does not exist", expected="directories of cases after --sites")
    names = [f"site-{number}" for number in range(1, len(sites) + 1)]
    to = Destination(out) if isinstance(out, Path) else out
    given = {"job": job, **dict(zip(names, sites, strict=True))}
    made_from = MadeFrom("sites", {name: sha256_of_all([folder]) for name, folder in given.items()})
    target = to.out.absolute()
    refuse_to_replace(Destination(target.parent, to.replace), target.name, made_from, RESULT)
    if keep is not None:
        _refuse_other_workspace(keep, made_from, to.replace)
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
                _keep(root, keep, made_from)
        if not (found / RESULT).is_file():
            raise StageError("FLARE ended without a result; --keep DIR keeps its logs")
        with result_folder(target.parent, target.name, RESULT, replace=to.replace) as folder:
            for file in sorted(found.iterdir()):
                shutil.copyfile(file, folder / file.name)
            said = json.loads((folder / RESULT).read_bytes())
            (folder / RESULT).write_text(json.dumps({**said, **made_from.facts()}, indent=2) + "\n", encoding="utf-8")
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


def _refuse_other_workspace(keep: Path, made_from: MadeFrom, replace: bool) -> None:
    """Refuse, before any work, to mix the workspace with one of another job or other cases, or with anything else."""
    try:
        if keep.is_dir() and any(keep.iterdir()) and not replace and not (keep / KEPT).is_file():
            raise OutputError(
                "the directory to keep holds something (expected a new one, or one that this command kept before); "
                "choose another --keep, or say --replace"
            )
    except OSError as error:
        raise output_error("the kept workspace", error) from error
    refuse_other_file(keep / KEPT, made_from, replace=replace)


def _keep(root: Path, keep: Path, made_from: MadeFrom) -> None:
    """Copy the workspace; what this command kept there before goes first, so that the logs of two runs never mix."""
    try:
        keep.mkdir(parents=True, exist_ok=True)
        _forget_kept(keep)
        parts = [root / name for name in (WORKSPACE, KITS.parts[0], FETCHED, SAID)]
        paths = sorted(
            path for part in parts for path in (part, *part.rglob("*")) if path.is_symlink() or path.is_file()
        )
        files = [{"name": path.relative_to(root).as_posix(), "sha256": _hash_of(path)} for path in paths]
        write_together({keep / KEPT: with_facts({"files": files}, made_from)})
        for part in parts:
            if part.is_dir():
                shutil.copytree(part, keep / part.name, dirs_exist_ok=True, symlinks=True)
            elif part.is_file():
                shutil.copyfile(part, keep / part.name)
    except OSError as error:
        raise output_error("the kept workspace", error) from error


def _forget_kept(keep: Path) -> None:
    """Delete what was kept before and is as it was; a changed file stays unless the new run writes one of its name."""
    try:
        listed = {str(entry["name"]): entry["sha256"] for entry in json.loads((keep / KEPT).read_bytes())["files"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or with --replace one that is not ours
        return
    for name, sha256 in listed.items():
        path = keep / name
        inside = path.is_relative_to(keep) and ".." not in path.relative_to(keep).parts
        if inside and sha256 is not None and _hash_of(path) == sha256:
            path.unlink()


def _hash_of(path: Path) -> str | None:
    """Of what a file holds, or of where a link leads; None for anything else."""
    if path.is_symlink():
        return hashlib.sha256(str(path.readlink()).encode()).hexdigest()
    return sha256_of(path) if path.is_file() else None
