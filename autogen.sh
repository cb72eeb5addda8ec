#!/bin/sh
# Make ./configure from configure.ac; needed in a checkout only, a release
# archive has it.
set -e
cd "$(dirname "$0")"
mkdir -p build-aux
exec autoreconf --install --force
