#!/bin/sh
# Copy a directory to a server as a new release, deploy it, and exit with the outcome.
#
#   deploy.sh HOST DIRECTORY [SOURCE]
#
#   HOST        the server, as ssh and rsync call it
#   DIRECTORY   on the server; it contains rainbowd.json, with "release": "current"
#   SOURCE      the directory to copy, by default the working directory
#
# It needs ssh and rsync here, and rsync and rainbowd on the server. RAINBOWD_NOTE is the note of the deploy. RAINBOWD_KEEP
# is the number of old releases to keep, by default 5; those in use are always kept. Exit status: 0 the release is live.
# Otherwise the previous release is live: 1 the deploy failed, 2 usage or config, 3 no agent runs, 255 ssh failed.
set -eu

if [ $# -lt 2 ] || [ $# -gt 3 ] || [ ! -d "${3:-.}" ]; then
    echo "usage: deploy.sh HOST DIRECTORY [SOURCE], SOURCE a directory" >&2
    exit 2
fi
host=$1
directory=$2
source=${3:-.}
release=$(date -u +%Y%m%d%H%M%S)

# Quote for a shell on the server: between single quotes, only a single quote is special.
quoted() {
    printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}

# Files that have not changed since the live release are copied on the server, not sent.
ssh "$host" "mkdir -p $(quoted "$directory/releases")"
rsync --archive -s --exclude=.git --copy-dest=../../current/ "$source/" "$host:$directory/releases/$release/"
ssh "$host" sh -s -- "$(quoted "$directory/releases")" "$release" "$(quoted "${RAINBOWD_NOTE:-}")" "${RAINBOWD_KEEP:-5}" <<'END'
cd "$1" || exit 2
rainbowd deploy --config ../rainbowd.json --note="$3" "./$2" </dev/null || exit
in_use=$(rainbowd status --json --config ../rainbowd.json) || exit 0
ls -d 20???????????? | sort -r | tail -n "+$(($4 + 1))" | while read -r old; do
    case $in_use in
    *"/$old\""*) ;;
    *) rm -rf "$old" ;;
    esac
done
END
