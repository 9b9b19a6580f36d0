#!/bin/sh
# Prints the name of a Python that can run the project, or says what is missing.
set -u
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    [ -n "$candidate" ] || continue
    command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
        echo "$candidate"
        exit 0
    fi
done
echo "HOPE needs Python 3.11, 3.12 or 3.13 and found none on the PATH; install one, or name it: make PYTHON=/path/to/python3.11" >&2
exit 1
