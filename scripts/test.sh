#!/usr/bin/env bash
# test.sh unit|integration|long|all [FILE...]: set-up, then scripts/run-tests.ts under Node 24. The last line that it prints
# is `N passed, N failed` (`, N skipped` may follow).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Only what the chosen tests use is set up: unit tests need no Debian packages.
flags=(--quiet)
if [ "${1:-}" = unit ] || { [ "${1:-}" != integration ] && [ "$(id -u)" != 0 ]; }; then flags+=(--npm-only); fi
if ! bash scripts/setup.sh "${flags[@]}"; then
  echo "test: the set-up failed (above), no test ran" >&2
  echo "0 passed, 1 failed"
  exit 1
fi
# /usr/sbin holds ovs-vswitchd and friends, and is not on every user's PATH.
PATH=$PWD/node_modules/.bin:$PATH:/usr/sbin:/sbin exec node_modules/.bin/node scripts/run-tests.ts "$@"
