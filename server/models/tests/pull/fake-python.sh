#!/bin/sh
# Stands in for a user's Python in tests: `-m pip download … --dest DIR PACKAGE==VERSION` copies
# PACKAGE-VERSION.whl from the folder that this script is called from. Files in that folder change
# what it does: the text of `fail` becomes pip's complaint, and with `hang` it never ends.
here=$(dirname "$0")
echo "$@" >>"$here/calls"
while [ "$1" != --dest ]; do shift; done
dest=$2 package=${3%%==*} version=${3##*==}
if [ -e "$here/fail" ]; then
    cat "$here/fail" >&2
    exit 1
fi
if [ -e "$here/hang" ]; then
    echo half >"$dest/half.whl"
    echo $$ >"$here/pid"
    exec sleep 600
fi
cp "$here/$package-$version.whl" "$dest/$package-$version-py3-none-any.whl"
