#!/bin/sh
# SPDX-License-Identifier: MIT
# Types what README.md tells a new user to type: every line of its ```sh blocks that begins with "./raft" or "make", except those
# that a comment marks with "not in CI". Fails at the first that does not end with status 0.
set -u
awk '/^```sh/ {on = 1; next} /^```/ {on = 0} on && /^(\.\/raft|make) / && !/not in CI/ {sub(/ *#.*/, ""); print}' README.md > build/readme.txt
n=0
while IFS= read -r line; do
    n=$((n + 1))
    printf '$ %s\n' "$line"
    start=$(date +%s)
    if ! sh -c "$line" > build/readme.log 2>&1 < /dev/null; then
        cat build/readme.log
        echo "README.md: this line failed: $line"
        exit 1
    fi
    tail -n 2 build/readme.log
    echo "  ($(($(date +%s) - start)) s)"
done < build/readme.txt
[ $n -ge 5 ] || { echo "README.md: only $n commands found" >&2; exit 1; }
echo "$n commands of README.md done"
