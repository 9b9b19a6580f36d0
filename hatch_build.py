"""Hatch's build hook: the wheel carries the built web page.

Where Node.js is there the page is built if its sources changed. Without Node.js an editable install goes on without
the page (the API works, and the page's address says how to build it), and a wheel is built only around a page that is
there already.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageBuildHook(BuildHookInterface):
    """Builds the page before files are collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page if need be; ``version`` is "editable" or "standard".

        Raises:
            RuntimeError: with advice, where a wheel would lack its page.
        """
        root = Path(self.root)
        viewer, static = root / "viewer", root / "src" / "hope" / "web" / "static"
        if not viewer.is_dir() or os.environ.get("HOPE_SKIP_PAGE") == "1":
            self.app.display_warning("The web page is not built (no viewer/ here, or HOPE_SKIP_PAGE=1).")
            return
        page = _builder(root)
        try:
            page.ensure(viewer, static, self.app.display_info)
        except page.PageError as error:
            if version == "editable":
                self.app.display_warning(f"Going on without the web page; the API works. {error}")
            elif (static / "index.html").is_file():
                self.app.display_warning(f"Shipping the page that is there, which may be older than viewer/. {error}")
            else:
                raise RuntimeError(str(error)) from error


def _builder(root: Path) -> ModuleType:
    """tools/build_page.py, which is no package."""
    spec = importlib.util.spec_from_file_location("build_page", root / "tools" / "build_page.py")
    if spec is None or spec.loader is None:
        raise RuntimeError("tools/build_page.py is missing from this source tree.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
