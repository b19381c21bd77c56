// SPDX-License-Identifier: Apache-2.0

// Package neighbours tests tagpin beside other programs that people run in their clusters: the real
// programs, as processes, with a real API server, its controllers and tagpin. Each neighbour has
// two folders:
//
//   - programs/NAME is a module. The tools in its go.mod are the programs, its requirements are
//     their versions, and its replacements are those of the programs' own go.mod files. They are
//     modules of their own so that their dependencies don't change those of e2e. If the programs of
//     a neighbour need different versions of a dependency, a folder in it is another module.
//   - NAME is a package of tests, which calls [Tests] in its TestMain. Its results.json has what
//     the last complete run found, which make docs puts on the page deploy/docs/compatibility.md.
//
// make test-neighbours builds the programs, runs all tests and writes the results. To run the tests
// of one neighbour, and to write its results:
//
//	cd e2e && CGO_ENABLED=0 GOFLAGS=-trimpath go test -count=1 ./neighbours/flux
//	cd e2e && CGO_ENABLED=0 GOFLAGS=-trimpath go test -count=1 ./neighbours/flux -update
//
// To take another version, edit go.mod in programs/NAME and run this there, since go mod tidy would
// also need modules that only the programs' own tests need. Then run make test-neighbours:
//
//	go list -mod=mod -deps tool
package neighbours
