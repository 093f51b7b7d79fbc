#!/usr/bin/env bash
# Prepares a checkout: npm packages, Node 24 under node_modules, and the Debian packages that the lab and the integration
# tests need. Idempotent, and quick when nothing is missing. All that it says goes to stderr. It never starts an Open
# vSwitch of the system: while packages are installed, policy-rc.d forbids services to start.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MIN_NODE=20
readonly WANT_NODE=v24
readonly STAMP=node_modules/.setup-stamp
readonly POLICY=/usr/sbin/policy-rc.d
readonly POLICY_MARK='temporary, by the set-up of dpu-agent'
# package:program that shows that it is there
readonly DEBIAN=(openvswitch-switch:ovs-vswitchd openvswitch-switch:ovsdb-server iproute2:ip ethtool:ethtool iputils-ping:ping)
readonly COMPILER=(build-essential:make build-essential:g++ python3:python3)

npm_only=false
quiet=false
policy_saved=

usage() {
  cat <<USAGE
usage: scripts/setup.sh [--npm-only] [--quiet]

Installs the npm packages (npm ci) and, as root on Debian or Ubuntu, the Debian packages that are missing.
  --npm-only   leave Debian packages alone
  --quiet      speak only of what is installed, and of errors
  --help       this text
USAGE
}

for arg in "$@"; do
  case $arg in
    --npm-only) npm_only=true ;;
    --quiet) quiet=true ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; echo "setup: unknown option $arg" >&2; exit 2 ;;
  esac
done

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

# The programs live in /usr/sbin, which is not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin

# missing_of NAME:PROGRAM... prints the names whose program is not there, each once.
missing_of() {
  local pair
  for pair in "$@"; do command -v "${pair#*:}" >/dev/null || echo "${pair%%:*}"; done | sort -u | tr '\n' ' '
}

check_system_node() {
  command -v node >/dev/null || die "needs Node.js $MIN_NODE or newer to start (Node 24 itself then comes by npm); no 'node' found"
  command -v npm >/dev/null || die "needs npm beside Node.js; no 'npm' found"
  local version
  version=$(node -v)
  local major=${version#v}
  [ "${major%%.*}" -ge $MIN_NODE ] || die "needs Node.js $MIN_NODE or newer to start; $(command -v node) is $version"
}

# What node_modules must have been made from.
wanted_stamp() { sha256sum <package-lock.json | cut -d' ' -f1; }

is_node24() {
  local version
  version=$(node_modules/.bin/node -v 2>/dev/null) && [ "${version%%.*}" = "$WANT_NODE" ]
}

addons_built() { compgen -G 'node_modules/syscall-napi/build/Release/*.node' >/dev/null; }

# npm may be told not to run install scripts, or a native addon may not compile: then the packages are installed without
# scripts, and the one script that matters (it fetches Node 24) is run by name.
install_npm_packages() {
  say "npm ci: installs the packages of package-lock.json into node_modules (about 30 s)"
  local log
  log=$(mktemp)
  if ! npm ci --no-audit --no-fund --loglevel=error </dev/null >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    say "npm ci failed; trying again without install scripts"
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >"$log" 2>&1 || {
      tail -n 15 "$log" >&2
      rm -f "$log"
      die "npm ci failed (above): is the npm registry reachable?"
    }
  fi
  rm -f "$log"
}

ensure_node24() {
  is_node24 && return
  say "Node 24: runs the installer of the npm package 'node'"
  (cd node_modules/node && NODE_NO_WARNINGS=1 node installArchSpecificPackage.js </dev/null >&2) || true
  # npm links a program only when it is there at the end of the installation.
  [ -e node_modules/.bin/node ] || ln -sf ../node/bin/node node_modules/.bin/node
  is_node24 || die "node_modules/.bin/node is not Node 24 (npm package 'node' did not install for $(uname -m)): remove node_modules and run 'npm run setup' again"
}

ensure_addons() {
  addons_built && return
  npm rebuild syscall-napi buffer2address </dev/null >&2 || true
  addons_built || say "warning: the native part of node-netlink is not built (needs a C++ compiler and python3): netlink features will say so"
}

setup_npm() {
  local want
  want=$(wanted_stamp)
  if [ -f $STAMP ] && [ "$(cat $STAMP)" = "$want" ] && [ -x node_modules/.bin/node ] && [ -e node_modules/.bin/tap ]; then
    return
  fi
  # A node_modules that npm itself has just made from this lock file needs no second installation.
  if ! { [ -f node_modules/.package-lock.json ] && [ ! -f $STAMP ] &&
    [ node_modules/.package-lock.json -nt package-lock.json ] && npm ls --all >/dev/null 2>&1; }; then
    install_npm_packages
  fi
  ensure_node24
  ensure_addons
  echo "$want" >$STAMP
  say "npm packages are in place, Node $(node_modules/.bin/node -v)"
}

restore_policy() {
  [ -n "$policy_saved" ] || return 0
  rm -f $POLICY
  if [ "$policy_saved" != none ]; then mv "$policy_saved" $POLICY; fi
  policy_saved=
}

# invoke-rc.d asks this script before it starts a service; 101 means "not allowed".
forbid_services() {
  local kept=$POLICY.before-dpu-agent
  # Ours, left by a set-up that was killed: what it had put aside is what counts.
  if grep -qs "$POLICY_MARK" $POLICY; then rm -f $POLICY; fi
  if [ -e $POLICY ]; then mv $POLICY "$kept"; fi
  if [ -e "$kept" ]; then policy_saved=$kept; else policy_saved=none; fi
  printf '#!/bin/sh\n# %s\nexit 101\n' "$POLICY_MARK" >$POLICY
  chmod 755 $POLICY
}

# apt_get ARG...: what it prints is kept in $apt_log and shown only when all has failed.
apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends "$@" </dev/null >>"$apt_log" 2>&1; }

setup_debian() {
  local missing
  missing=$(missing_of "$@")
  [ -n "$missing" ] || return 0
  local command="apt-get install -y --no-install-recommends ${missing% }"
  command -v apt-get >/dev/null || die "missing: ${missing% }. This system has no apt-get: install what holds them by its own means"
  [ "$(id -u)" = 0 ] || die "missing Debian packages: ${missing% }. As root, run: $command"
  say "installs Debian packages: ${missing% } (no service of the system is started)"
  trap restore_policy EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  forbid_services
  # The package lists may be empty (fresh image) or too old to name a file that still exists.
  apt_log=$(mktemp)
  # shellcheck disable=SC2086
  if ! apt_get install $missing; then
    say "apt-get update, then once more"
    # shellcheck disable=SC2086
    if ! { apt_get update && apt_get install $missing; }; then
      tail -n 20 "$apt_log" >&2
      die "apt-get could not install ${missing% } (above; all of it in $apt_log)"
    fi
  fi
  rm -f "$apt_log"
  restore_policy
  missing=$(missing_of "$@")
  [ -z "$missing" ] || die "still missing after the installation: ${missing% }"
}

check_system_node
if ! $npm_only && ! addons_built && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then setup_debian "${COMPILER[@]}"; fi
setup_npm
$npm_only || setup_debian "${DEBIAN[@]}"
$quiet || say "ready"
