#!/bin/sh
# Make a release the live one, and say how that ended.
#
#   deploy.sh RELEASE LINK STATE_DIR [SECONDS]
#
#   RELEASE    the directory to run from now on
#   LINK       the symlink that the config's "release" names
#   STATE_DIR  the config's "state_dir"
#   SECONDS    how long to wait for the end; 120 if not given
#
# Exit status: 0 the release is live, 1 the deploy failed and what was live still is, 2 usage, 4 not decided in time.
set -eu

if [ $# -lt 3 ] || [ ! -d "$1" ]; then
    echo "usage: deploy.sh RELEASE LINK STATE_DIR [SECONDS], RELEASE a directory" >&2
    exit 2
fi
release=$(realpath "$1")
link=$2
journal=$3/journal.jsonl
seconds=${4:-120}

# Turn the link by a rename: there is no moment without one.
seen=$(wc -l <"$journal")
ln -s "$release" "$link.$$"
mv -fT "$link.$$" "$link"

# The journal tells, a line an event, what came of it.
until=$(($(date +%s) + seconds))
while [ "$(date +%s)" -lt "$until" ]; do
    end=$(tail -n "+$((seen + 1))" "$journal" | grep -F "\"$release\"" |
        grep -m1 -E '"event": ?"deploy\.(succeeded|failed|rolled_back)"') || end=
    case $end in
    '') sleep 0.2 ;;
    *deploy.failed*)
        echo "$end" >&2
        exit 1
        ;;
    *)
        echo "$end"
        exit 0
        ;;
    esac
done
echo "not decided within $seconds seconds" >&2
exit 4
