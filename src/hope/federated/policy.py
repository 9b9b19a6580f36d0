"""The files by which a site lets only the jobs of this package run and only their aggregates leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hope.federated.jobs import SERVER_CLASSES, SITE_CLASSES
from hope.formats.atomic import output_error, write_together
from hope.stages.report.made_from import refuse_other_bytes

_SCOPE: Final = "hope"
_FILTER: Final = {"path": SITE_CLASSES[1], "args": {}}

RESOURCES: Final[Mapping[str, Any]] = {
    "class_allow_list": [*SITE_CLASSES, *SERVER_CLASSES],
    "class_list_enforcement_mode": "enforce",
    "allow_log_streaming": False,
}
"""To be merged into a site's ``local/resources.json``: the only classes that a job may name, and no log leaves.

FLARE's kits let each client send its log of errors to the server, by a class that it adds to each job.
"""

PRIVACY: Final[Mapping[str, Any]] = {
    "scopes": [
        {
            "name": _SCOPE,
            "properties": {},
            "task_result_filters": [_FILTER],
            "task_data_filters": [],
        }
    ],
    "default_scope": _SCOPE,
}
"""A site's ``local/privacy.json``: each result of each job passes the filter, whatever the job says."""

_NOTHING: Final = {"shell_commands": "none", "byoc": "none", "server-predeployed-flwr": "none"}
_OWN: Final = {"clone_job": "n:submitter", "manage_job": "n:submitter", "download_job": "n:submitter"}

AUTHORIZATION: Final[Mapping[str, Any]] = {
    "format_version": "1.0",
    "permissions": {
        "project_admin": {
            **{"submit_job": "any", "clone_job": "any", "manage_job": "any", "download_job": "any"},
            **{"view": "any", "operate": "any", **_NOTHING},
        },
        "org_admin": {
            **{"submit_job": "none", "clone_job": "none", "manage_job": "o:submitter", "download_job": "o:submitter"},
            **{"view": "any", "operate": "o:site", **_NOTHING},
        },
        "lead": {"submit_job": "any", **_OWN, "view": "any", "operate": "o:site", **_NOTHING},
        "member": {"view": "any", **_NOTHING},
    },
}
"""A site's ``local/authorization.json``: nobody may bring code (byoc), and nobody gets a shell."""

FILES: Final[Mapping[str, Mapping[str, Any]]] = {
    "resources.json": RESOURCES,
    "privacy.json": PRIVACY,
    "authorization.json": AUTHORIZATION,
}


def write_policy(folder: Path, *names: str, replace: bool = False) -> list[Path]:
    """Write the policy's files, or some of them, into a directory.

    Args:
        folder: made if need be.
        names: of the files; all of them if none is named.
        replace: files of these names are replaced whatever they hold.

    Raises:
        OutputError: if they cannot be written, or files of these names hold something else.
    """
    files = {folder / name: (json.dumps(FILES[name], indent=2) + "\n").encode() for name in names or FILES}
    refuse_other_bytes(files, replace=replace)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error("the policy's directory", error) from error
    write_together(files)
    return list(files)
