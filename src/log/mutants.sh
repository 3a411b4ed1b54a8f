#!/bin/bash
# mutants.sh - build each seeded mistake of src/log/mutants.h into the log and show that its tests catch it.
#   src/log/mutants.sh [NAME...]     exits 1 if one survives
set -u
cd "$(dirname "$0")/../.."
names=${*:-$(sed -n 's/^#define MUTANT_\([a-z_]*\) 0.*/\1/p' src/log/mutants.h)}
flags="-std=gnu17 -D_GNU_SOURCE -O1 -g -fno-strict-aliasing -Isrc"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
survived=0

build() {       # build FLAG OUTPUT
	# shellcheck disable=SC2086
	${CC:-cc} $flags $1 src/log/*.c src/sim/disk.c $(ls src/base/*.c | grep -v _test) -o "$2" -lisal
}

for name in $names; do
	build "-DMUTANT_$name=1" "$tmp/$name" || exit 2
	if timeout 900 "$tmp/$name" >"$tmp/out" 2>&1; then
		echo "SURVIVED $name"
		survived=1
	else
		echo "caught   $name   $(grep -m1 -oE 'FAILED [a-z_0-9]+|Assertion.*' "$tmp/out")"
	fi
done
exit $survived
