#!/usr/bin/env bash
# Builds etcd and kube-apiserver, for the tests against a real Kubernetes API server, from the Go modules that test/kube
# pins. Once: into a cache outside of the checkout, found again by every checkout of the same versions. Idempotent. The
# directory with the two programs is the one line on standard output; all that it says goes to standard error. Exit
# status 3: cannot be had here (no Go, no module proxy), the reason is said; a test then skips with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quiet=false
check=false
for arg in "$@"; do
  case $arg in
    --quiet) quiet=true ;;
    --check) check=true ;;
    *)
      cat >&2 <<USAGE
usage: scripts/kube-binaries.sh [--check] [--quiet]

Prints the directory with etcd and kube-apiserver; builds them first when they are not there (about 4 minutes, 3 GB of
Go's caches). KUBEBUILDER_ASSETS, when set, is that directory and nothing is built.
  --check   build nothing: exit status 3 and the reason when they are not there
  --quiet   speak only of errors
USAGE
      [ "$arg" = --help ] && exit 0
      exit 2
      ;;
  esac
done

say() { $quiet || echo "kube-binaries: $*" >&2; }
cannot() { echo "kube-binaries: $*" >&2; exit 3; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  for program in etcd kube-apiserver; do
    [ -x "$KUBEBUILDER_ASSETS/$program" ] || cannot "KUBEBUILDER_ASSETS is set, but has no $program"
  done
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

# version_of MODULE-DIRECTORY MODULE
version_of() { awk -v module="$2" '$(1 + ($1 == "require")) == module && /^(require|\t)/ && !/=>/ { print $NF; exit }' "test/kube/$1/go.mod"; }
kube=$(version_of apiserver k8s.io/kubernetes)
etcd=$(version_of etcd go.etcd.io/etcd/server/v3)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dpu-agent/kube-$kube-etcd-$etcd

built() { [ -x "$cache/etcd" ] && [ -x "$cache/kube-apiserver" ]; }

if ! built; then
  $check && cannot "etcd $etcd and kube-apiserver $kube are not built: run scripts/kube-binaries.sh"
  command -v go >/dev/null || cannot "needs Go (1.26 or newer, or one that fetches its own toolchain) to build etcd and kube-apiserver; no 'go' found. Or set KUBEBUILDER_ASSETS"
  mkdir -p "$cache"
  # One build at a time, whoever asks: the others wait for it and find it done.
  exec 9>"$cache/.lock"
  flock 9
fi

# build MODULE-DIRECTORY PACKAGE PROGRAM [LDFLAGS]: renamed into place, so that a build that was killed leaves no half program.
build() {
  [ -x "$cache/$3" ] && return
  local start=$SECONDS
  say "builds $3 into $cache"
  (cd "test/kube/$1" && CGO_ENABLED=0 nice -n 19 go build -mod=readonly -trimpath -ldflags "-s -w ${4:-}" -o "$cache/.$3.$$" "$2") ||
    { rm -f "$cache/.$3.$$"; echo "kube-binaries: could not build $3 (above): is the Go module proxy reachable?" >&2; exit 3; }
  mv "$cache/.$3.$$" "$cache/$3"
  say "$3 is built ($((SECONDS - start)) s)"
}

if ! built; then
  build etcd . etcd
  build apiserver k8s.io/kubernetes/cmd/kube-apiserver kube-apiserver "-X k8s.io/component-base/version.gitVersion=$kube"
fi
echo "$cache"
