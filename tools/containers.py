"""Builds and keeps the images for `make containers`: stand-ins for base images, then the project's own images.

    python -m tools.containers bases             Debian packages -> images tagged like those that the Dockerfiles name
    python -m tools.containers build gateway     one image: gateway, worker or endpoint
    python -m tools.containers clean             delete everything that the other two made

It needs root, podman, runc, catatonit and debootstrap (Debian packages), npm, and the registries of Debian, PyPI and
npm; no registry of images. Its store is build/containers (HOPE_CONTAINERS names another), so that nothing mixes with
other images of the machine. TORCH_INDEX goes to the build. Sizes and times are added to build/containers/figures.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

from tools import container_store as store
from tools import stand_ins

NEEDED = ("podman", "runc", "catatonit", "debootstrap", "npm")


def check() -> None:
    """What has to be there, before anything is done.

    Raises:
        SystemExit: something is missing, or the user is not root.
    """
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"containers: {', '.join(missing)} is missing; apt-get install {' '.join(NEEDED)}")
    if os.geteuid() != 0:
        raise SystemExit("containers: debootstrap and the stand-ins need root; run it with sudo")


def build(name: str) -> None:
    """Build one of our images and note its size.

    Raises:
        SystemExit: a stand-in is missing.
    """
    if not store.exists(store.python_image()):
        raise SystemExit("the base images are missing; run: python -m tools.containers bases")
    _, dockerfile, target = store.IMAGES[name]
    options = ["--format", "docker", "--layers", "--pull=never", *stand_ins.registries(), "--target", target]
    if os.environ.get("TORCH_INDEX"):
        options += ["--build-arg", f"TORCH_INDEX={os.environ['TORCH_INDEX']}"]
    with store.measured(store.image(name)) as entry:
        store.shown(
            "build",
            *options,
            "--tag",
            store.image(name),
            "--file",
            str(store.REPOSITORY / dockerfile),
            str(store.REPOSITORY),
        )
        entry["mb"] = store.size_mb(store.image(name))


def clean() -> None:
    """Show what was measured, then delete containers, volumes and images of our own store, and the store.

    Not by `podman system reset`, which also deletes what podman keeps outside of the store that it was given.

    Raises:
        SystemExit: the directory holds what we did not make, such as one that HOPE_CONTAINERS names by mistake.
    """
    if not store.STORE.exists():
        return
    foreign = sorted(path.name for path in store.STORE.iterdir() if not store.is_ours(path.name))
    if foreign:
        raise SystemExit(
            f"containers: {store.STORE} holds {foreign[0]}, which is not ours, so it is not deleted; "
            "HOPE_CONTAINERS has to name a directory of its own"
        )
    if store.FIGURES.exists():
        sys.stdout.write(store.FIGURES.read_text(encoding="utf-8"))
    for words in (["rm", "--all", "--force"], ["volume", "rm", "--all", "--force"], ["rmi", "--all", "--force"]):
        store.podman(*words)
    subprocess.run(
        ["umount", str(store.STORE / "store" / "overlay")], capture_output=True, check=False
    )  # podman's own mount
    shutil.rmtree(store.STORE)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["bases", "build", "clean"])
    parser.add_argument(
        "names", nargs="*", metavar="IMAGE", help=f"some of {', '.join(store.IMAGES)}; all if none is given"
    )
    given = parser.parse_args()
    check()
    unknown = sorted(set(given.names) - set(store.IMAGES))
    if unknown:
        parser.error(f"no image {unknown[0]}; there are {', '.join(store.IMAGES)}")
    if given.what == "bases":
        stand_ins.make_bases()
    elif given.what == "build":
        for name in given.names or store.IMAGES:
            build(name)
    else:
        clean()


if __name__ == "__main__":
    main()
