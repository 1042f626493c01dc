#!/bin/sh
# Compares every column and class row of each snapshot with what DevTools computes.
# Usage: parity.sh FILE.heapsnapshot... Writes FILE.devtools beside each; exits with 1 on a mismatch.
here=$(dirname "$0")
cargo build --quiet --release -p plimsoll-heap --example digest || exit 2
status=0
for file in "$@"; do
    golden="${file%.heapsnapshot}.devtools"
    node --max-old-space-size=16000 "$here/devtools.mjs" digest "$file" > "$golden" || exit 2
    if "$here/../../target/release/examples/digest" digest "$file" | cmp -s - "$golden"; then
        echo "same $(head -1 "$golden") $file"
    else
        echo "DIFFERENT $file"
        status=1
    fi
done
exit $status
