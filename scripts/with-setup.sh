#!/usr/bin/env bash
# with-setup.sh FILE ARG...: makes sure that the set-up is there, then becomes `node FILE ARG...` under Node 24. The set-up
# speaks on stderr only, so that FILE owns stdout. Asking for help needs no Debian packages, and without root none can be
# installed: then FILE itself says what it misses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { echo "usage: scripts/with-setup.sh FILE [ARG...]" >&2; exit 2; }

flags=(--quiet)
for arg in "${@:2}"; do
  case $arg in -h | --help) flags+=(--npm-only) ;; esac
done
if [ "$(id -u)" != 0 ]; then flags+=(--npm-only); fi
bash scripts/setup.sh "${flags[@]}"
PATH=$PWD/node_modules/.bin:$PATH:/usr/sbin:/sbin exec node_modules/.bin/node "$@"
