//go:build tools

// Package tools names the programs that scripts/kube-binaries.sh builds from this module, so
// that go.mod and go.sum pin them and all they need. It holds no code of its own.
package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
