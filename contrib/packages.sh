#!/bin/sh
# Install the Debian packages that jobqd needs and that are missing.
#
#	sh contrib/packages.sh build	to build and run it, its demo included
#	sh contrib/packages.sh test	to run its tests too
#	sh contrib/packages.sh bench	to measure other job systems beside it
#
# Works as root, or with sudo; says and does nothing when all is there. Fails
# with one line that says what to do. The servers that Debian starts after their
# installation, PostgreSQL and Redis, are not used.
set -eu

build='autoconf automake pkg-config gcc libc6-dev make libpq-dev libevent-dev
	libyaml-dev libcurl4-openssl-dev libesmtp-dev libjansson-dev libssl-dev
	libbsd-dev libseccomp-dev zlib1g-dev postgresql python3
	libxlsxwriter-dev libpango1.0-dev libarchive-dev fonts-dejavu-core'
test='libcmocka-dev perl pgbouncer procps mandoc postfix logrotate faketime tzdata xz-utils valgrind
	curl openssl nginx haproxy chromium python3-openpyxl qpdf poppler-utils
	python3-croniter python3-cryptography prometheus python3-prometheus-client zsh fish
	php-cli ruby jq'
bench='perl procps redis-server ruby-sidekiq ruby-hiredis'
# Node may be here from elsewhere, with an npm of its own.
command -v node >/dev/null || { test="$test nodejs"; bench="$bench nodejs"; }
command -v npm >/dev/null || bench="$bench npm"

case ${1:-} in
build)	wanted=$build ;;
test)	wanted="$build $test" ;;
bench)	wanted="$build $bench" ;;
*)	echo "usage: $0 build|test|bench" >&2; exit 2 ;;
esac

fail() { echo "packages: $*" >&2; exit 1; }

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
	fail "this is no Debian or Ubuntu; install the like of:" $wanted

missing=
for package in $wanted; do
	case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
	*' ok installed') ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || fail "as root, run: apt-get install$missing"
	as_root=sudo
fi

log=$(mktemp /tmp/jobqd-packages.XXXXXX)
trap 'rm -f "$log"' EXIT
trap 'exit 1' INT TERM HUP

apt() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" \
		>>"$log" 2>&1 </dev/null
}

# The reason in apt's own words, if it gave one.
reason() { grep -m1 '^E: ' "$log" || tail -n 1 "$log"; }

echo "installing$missing"
case $missing in
*' postfix'*)	# for its smtp-sink only: no mail system of its own
	echo 'postfix postfix/main_mailer_type select No configuration' |
		$as_root debconf-set-selections >>"$log" 2>&1 || : ;;
esac
apt install --no-install-recommends $missing || {
	apt update && apt install --no-install-recommends $missing
} || fail "apt-get install$missing failed: $(reason)"
