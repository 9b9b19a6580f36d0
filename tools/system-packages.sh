#!/bin/sh
# Installs what the tests need of the system and pip cannot give: a browser, software OpenGL for it, PostgreSQL's
# programs, a DICOM validator, a DICOM archive (Orthanc), Node.js with npm. Asks nothing, starts no server, and ends at
# once where everything is there already.
set -u

NODE_NEEDED=20.19

there() { # whether one of the given files (patterns) exists
    for file in "$@"; do
        [ -e "$file" ] && return 0
    done
    return 1
}

command_there() { # whether one of the given commands is on the PATH
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 && return 0
    done
    return 1
}

version_enough() { # whether version $1 (such as v20.19.2) is NODE_NEEDED or later
    found=${1#v}
    lowest=$(printf '%s\n%s\n' "$NODE_NEEDED" "$found" | sort -V | head -n 1)
    [ -n "$found" ] && [ "$lowest" = "$NODE_NEEDED" ]
}

node_there() {
    command_there node && command_there npm && version_enough "$(node --version 2>/dev/null)"
}

missing_packages() { # Debian's names of what is not there, Node.js apart
    command_there chromium chromium-browser google-chrome || echo chromium
    command_there dciodvfy || echo dicom3tools
    command_there Orthanc || echo orthanc
    there /usr/share/orthanc/plugins/libOrthancDicomWeb.so || echo orthanc-dicomweb
    command_there initdb || there /usr/lib/postgresql/*/bin/initdb || echo postgresql
    # The drivers' names differ between releases; the folder holds them in all.
    there /usr/lib/*/dri/*swrast_dri.so /usr/lib/*/dri/libdril_dri.so /usr/lib*/dri/*_dri.so || echo libgl1-mesa-dri
    there /usr/lib/*/libEGL.so.1 /usr/lib*/libEGL.so.1 || echo libegl1
    there /usr/lib/*/libGLESv2.so.2 /usr/lib*/libGLESv2.so.2 || echo libgles2
}

refuse() { # say one thing and give up
    echo "system-packages: $*" >&2
    exit 1
}

install_node_hint="install Node.js $NODE_NEEDED or later with npm, see https://nodejs.org/en/download"

packages=$(missing_packages | tr '\n' ' ')
node=missing
node_there && node=there
[ -z "$packages" ] && [ "$node" = there ] && exit 0

wanted="$packages"
[ "$node" = missing ] && wanted="${wanted}node>=$NODE_NEEDED npm"

if ! command_there apt-get; then
    refuse "this is no Debian system, so please install by hand what stands for these Debian packages: $wanted"
fi

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if command_there sudo && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        refuse "missing: $wanted. Please install as root (apt-get install ${packages:-nodejs npm}) or allow sudo" \
            "without a password; 'make pytest' runs the tests that do without"
    fi
fi

apt() {
    # shellcheck disable=SC2086 # empty for root
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

echo "system-packages: installing $wanted"
apt update || refuse "the package lists cannot be fetched; check the network and /etc/apt"

if [ "$node" = missing ]; then
    offered=$(apt-cache policy nodejs | awk '/Candidate:/ {print $2}')
    if command_there node && ! command_there npm; then
        packages="$packages npm"
    elif version_enough "${offered%%[-+~]*}"; then
        packages="$packages nodejs npm"
    else
        found=$(node --version 2>/dev/null || echo none)
        refuse "Node.js $NODE_NEEDED or later is needed, found $found, and this Debian offers ${offered:-none};" \
            "$install_node_hint"
    fi
fi

# Debian would make a cluster and start a server on it; the tests make their own, elsewhere and for a moment.
no_cluster=/etc/postgresql-common/createcluster.d/hope-no-cluster.conf
case " $packages " in
*" postgresql "*)
    # shellcheck disable=SC2086
    { $as_root mkdir -p "${no_cluster%/*}" && echo "create_main_cluster = false" | $as_root tee "$no_cluster" >/dev/null; } ||
        refuse "cannot write $no_cluster"
    ;;
esac
# Debian would start an archive on its well-known ports; the tests run their own. This file forbids it while it is there.
no_start=/usr/sbin/policy-rc.d
made_no_start=""
case " $packages " in
*" orthanc "*)
    # shellcheck disable=SC2086
    if [ ! -e "$no_start" ]; then
        { printf '#!/bin/sh\nexit 101\n' | $as_root tee "$no_start" >/dev/null && $as_root chmod 755 "$no_start"; } ||
            refuse "cannot write $no_start"
        made_no_start=yes
    fi
    ;;
esac
# shellcheck disable=SC2086 # a list
apt install -y --no-install-recommends $packages
status=$?
# shellcheck disable=SC2086
$as_root rm -f "$no_cluster"
# shellcheck disable=SC2086
[ -z "$made_no_start" ] || $as_root rm -f "$no_start"
$as_root rmdir "${no_cluster%/*}" 2>/dev/null
[ "$status" -eq 0 ] || refuse "apt-get could not install: $packages"

left=$(missing_packages | tr '\n' ' ')
[ -z "$left" ] || refuse "installed, yet still not found: $left; on Ubuntu install Chromium or Google Chrome by hand"
node_there || refuse "found Node.js $(node --version 2>/dev/null || echo none); $install_node_hint"
