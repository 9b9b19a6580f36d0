#!/usr/bin/env bash
# Trains the model that ships in the background, at the lowest priority and with one thread, from a copy of the tree.
#
#   tools/background_training.sh start [CASES]  begin, or go on where it was; CASES is what `benchmarks/pool.py export` wrote
#   tools/background_training.sh status         what it is doing, and how far it is
#   tools/background_training.sh pause [PID]    stop the processes where they stand; with PID, until that process ends
#   tools/background_training.sh resume         let them go on, unless somebody else has paused them too
#   tools/background_training.sh stop           end it; `start` goes on from its last checkpoint
#   tools/background_training.sh tree           take the tree of today for the next start
#   tools/background_training.sh folder         where everything lies
#
# HOPE_TRAINING_ARGUMENTS holds more of `hope train schedule`, such as "--steps 0 3300 0"; later starts remember it.
# Everything lies in HOPE_TRAINING_DIR. If that folder is gone, `start` begins anew from the weights that the tree holds.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${HOPE_TRAINING_DIR:-${XDG_DATA_HOME:-${HOME:-/tmp}/.local/share}/hope-training}
python=${HOPE_TRAINING_PYTHON:-$root/.venv/bin/python}
process_file=$folder/process pauses=$folder/pauses

say() { echo "background training: $*"; }

began_at() { # when process $1 began, in clock ticks since the machine did: tells it from a later one with its number
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

alive() { # whether process $1, which began at $2, still runs
    [ -n "${1:-}" ] && [ -n "${2:-}" ] && [ "$(began_at "$1")" = "$2" ]
}

running() { # whether the training runs or is paused; sets $leader, whose process group holds all of it
    [ -r "$process_file" ] && read -r leader began <"$process_file" && alive "$leader" "$began"
}

held() { # whether somebody still wants it paused; forgets those who ended
    local holder pid began
    for holder in "$pauses"/*; do
        [ -e "$holder" ] || continue
        [ "$(basename "$holder")" = by-hand ] && return 0
        read -r pid began <"$holder" || true
        alive "$pid" "$began" && return 0
        rm -f "$holder"
    done
    return 1
}

copy_tree() { # the tracked files as they lie here, so that nobody's later edits disturb a run
    rm -rf "$folder/tree.new"
    mkdir -p "$folder/tree.new"
    (cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --ignore-failed-read -cf - 2>/dev/null) |
        tar -xf - -C "$folder/tree.new"
    rm -rf "$folder/tree"
    mv "$folder/tree.new" "$folder/tree"
    (cd "$root" && git rev-parse HEAD) >"$folder/tree-of"
}

start() {
    if running; then
        say "already running (process $leader)"
        return
    fi
    mkdir -p "$folder" "$pauses"
    [ -d "$folder/tree/src/hope" ] || copy_tree
    [ -z "${1:-}" ] || (cd "$1" && pwd) >"$folder/cases"
    local arguments=(-o "$folder/run" --from starter --threads 1)
    if [ -r "$folder/cases" ] && [ -d "$(cat "$folder/cases")" ]; then
        arguments+=(--cases "$(cat "$folder/cases")" --scheme brats2023 --folds "$folder/tree/benchmarks/folds.json")
    else
        say "no folder of real cases: the phases without them will run"
    fi
    [ -z "${HOPE_TRAINING_ARGUMENTS:-}" ] || echo "$HOPE_TRAINING_ARGUMENTS" >"$folder/arguments"
    read -r -a more <<<"$(cat "$folder/arguments" 2>/dev/null || true)"
    arguments+=("${more[@]}")
    rm -f "$pauses"/*
    cd "$folder"
    # Linux may share the processor between sessions first and look at nice values only within one: then the session
    # itself has to be nice, else this run takes as much as everything in the user's terminal together.
    OMP_NUM_THREADS=1 PYTHONPATH="$folder/tree/src" PYTHONDONTWRITEBYTECODE=1 setsid nice -n 19 bash -c \
        '[ ! -w /proc/self/autogroup ] || echo 19 >/proc/self/autogroup || true; exec "$@"' training "$python" -c \
        'import sys; from hope.cli import main; main(["train", "schedule", *sys.argv[1:]])' "${arguments[@]}" \
        >>"$folder/output.log" 2>&1 </dev/null &
    leader=$!
    sleep 1
    began=$(began_at "$leader")
    [ -n "$began" ] || { say "ended at once; see $folder/output.log"; exit 1; }
    echo "$leader $began" >"$process_file"
    say "running (process $leader), log in $folder/output.log"
}

pause() {
    running || return 0
    mkdir -p "$pauses"
    kill -STOP -- "-$leader"
    if [ -z "${1:-}" ]; then
        : >"$pauses/by-hand"
    else
        echo "$1 $(began_at "$1")" >"$pauses/$1"
        # Whoever asked may be killed before it can say that it is done.
        (trap '' HUP; while alive "$1" "$(cut -d ' ' -f 2 "$pauses/$1" 2>/dev/null)"; do sleep 2; done; held || go_on) >/dev/null 2>&1 </dev/null &
    fi
}

go_on() {
    running && kill -CONT -- "-$leader"
}

resume() {
    rm -f "$pauses/by-hand"
    running || return 0
    held || go_on
}

status() {
    if ! running; then
        say "not running"
    elif [ "$(sed 's/.*) //' "/proc/$leader/stat" | cut -c 1)" = T ]; then
        say "paused (process $leader)"
    else
        say "running (process $leader)"
    fi
    [ -d "$folder/run" ] || return 0
    local losses
    for losses in "$folder"/run/*/losses.txt; do
        [ -r "$losses" ] || continue
        echo "  $(basename "$(dirname "$losses")"): step $(wc -l <"$losses"), loss $(tail -n 50 "$losses" | awk '{s += $1} END {if (NR) printf "%.3f", s / NR}')"
    done
    [ -r "$folder/tree-of" ] && echo "  tree of $(cut -c 1-12 "$folder/tree-of"), folder $folder"
}

stop() {
    running || { say "not running"; return 0; }
    kill -CONT -- "-$leader"
    kill -TERM -- "-$leader"
    for _ in $(seq 50); do
        running || break
        sleep 0.2
    done
    ! running || kill -KILL -- "-$leader"
    rm -f "$process_file" "$pauses"/*
    say "stopped"
}

case "${1:-}" in
start | pause | resume | status | stop) "$@" ;;
tree) mkdir -p "$folder" && copy_tree ;;
folder) echo "$folder" ;;
*) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2 && exit 2 ;;
esac
