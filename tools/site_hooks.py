"""Hooks of `mkdocs build`: links that leave docs/ go to the repository's address, or become plain words without one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)]*)?\)")
BRANCH = "main"


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """The page's text with every link that leaves docs/ rewritten."""
    root = Path(config["docs_dir"]).resolve()
    here = (root / page.file.src_uri).parent
    address = str(config["repo_url"] or "").rstrip("/")

    def rewritten(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith(("mailto:", "#")):
            return link[0]
        goal = (here / target).resolve()
        if goal.is_relative_to(root) and not goal.is_dir() and goal.suffix == ".md":
            return link[0]
        if not goal.exists():
            return link[0]  # strict mode names it
        path = goal.relative_to(root.parent).as_posix()
        if not address:
            return f"{text} (`{path}` in the repository)"
        kind = "tree" if goal.is_dir() else "blob"
        return f"[{text}]({address}/{kind}/{BRANCH}/{path}{anchor})"

    return _LINK.sub(rewritten, markdown)
