// Command etcd is the etcd server as its own module ships it; this wrapper pins its version for
// the tests against a real Kubernetes API server (scripts/kube-binaries.sh builds it).
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
