#!/bin/sh
# Copy a directory to a server as a new release, deploy it, and end as the deploy ended.
#
#   deploy.sh HOST DIRECTORY [SOURCE]
#
#   HOST        what ssh and rsync call the server
#   DIRECTORY   on the server, with rainbowd.json in it, whose "release" is "current"
#   SOURCE      what to copy; the working directory if not given
#
# Wanted are ssh and rsync here, rsync and rainbowd there. RAINBOWD_NOTE goes to the journal; of old releases the newest
# RAINBOWD_KEEP stay, 5 if not given, and whatever a generation still runs in. Exit status: 0 the release is live, else what
# is live was live before: 1 it failed, 2 usage or config, 3 no agent runs there, 255 ssh did not get there.
set -eu

if [ $# -lt 2 ] || [ $# -gt 3 ] || [ ! -d "${3:-.}" ]; then
    echo "usage: deploy.sh HOST DIRECTORY [SOURCE], SOURCE a directory" >&2
    exit 2
fi
host=$1
directory=$2
source=${3:-.}
release=$(date -u +%Y%m%d%H%M%S)

# For a shell on the server: in single quotes, where only a single quote has a meaning.
quoted() {
    printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}

# What has not changed since the present release is copied from there, not sent.
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
