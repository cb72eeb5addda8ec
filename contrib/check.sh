#!/bin/sh
# Build jobqd and run every test: what a developer runs before a commit, and
# what continuous integration runs. Does all its own set-up on Debian 12:
# installs what is missing, builds twice outside the tree (plain with warnings
# as errors, and with the address and undefined-behaviour sanitizers), runs the
# unit tests in both and the system tests, and checks the manual and what a job
# costs.
#
#	sh contrib/check.sh [DIRECTORY]		where to build (default: a temporary one)
#
# Environment: JOBS, how many system tests run at once (3).
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -gt 0 ]; then
	mkdir -p "$1"
	work=$(cd "$1" && pwd)
else
	work=$(mktemp -d /tmp/jobqd-check.XXXXXX)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' INT TERM HUP
	chmod 755 "$work"
fi

say() { printf '\n== %s\n' "$*"; }

say 'packages'
sh "$top/contrib/packages.sh" test

say 'configure'
[ -x "$top/configure" ] && [ "$top/configure" -nt "$top/configure.ac" ] &&
    [ "$top/Makefile.in" -nt "$top/Makefile.am" ] || (cd "$top" && ./autogen.sh >"$work/autogen.log" 2>&1) ||
    { cat "$work/autogen.log"; exit 1; }

build() {	# build NAME CONFIGURE-OPTIONS…
	name=$1; shift
	mkdir -p "$work/$name"
	(cd "$work/$name" && "$top/configure" -q --enable-werror "$@" &&
	    make -s -j2 all) || exit 1
}

say 'sanitizer build and its unit tests'
build sanitize --enable-sanitize CFLAGS='-O1 -g'
(cd "$work/sanitize" && make -s -j2 check-unit)

say 'plain build and its unit tests'
build plain CFLAGS='-O2 -g'
(cd "$work/plain" && make -s -j2 check-unit)

say 'what a job costs'
(cd "$work/plain" && make -s bench-cost)

say 'a release archive, built and installed elsewhere'
(cd "$work/plain" && make -s distcheck-quick)

say 'system tests with the sanitizers: drivers, pool and api'
(cd "$work/sanitize" && make -s check-system JOBS="${JOBS:-3}" \
    TESTS_T="$(ls "$top"/t/[24]*.t "$top"/t/7[0-8]*.t | tr '\n' ' ')")

say 'system tests'
cd "$work/plain" && make -s check-system JOBS="${JOBS:-3}"
