// SPDX-License-Identifier: Apache-2.0

package node

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/tagpin/tagpin/e2e/scratch"
)

// prefix begins the names of the folders and the cgroups of nodes. Nothing else is ever removed.
const prefix = "tagpin-node-"

// place is where a node's files are, and by its name the cgroup of its pods.
type place struct {
	dir  string
	lock *os.File // locked as long as this process or the node's first is there
}

// newPlace makes one.
func newPlace() (*place, error) {
	dir, err := scratch.New(prefix)
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir.Path, lock: dir.Lock}
	if err := makeCgroups(p.name()); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}

func (p *place) name() string { return filepath.Base(p.dir) }

// remove removes all of it, when the processes in the cgroup have ended.
func (p *place) remove() error { return errors.Join(removePlace(p.dir), p.lock.Close()) }

func removePlace(dir string) error {
	return errors.Join(removeCgroups(filepath.Base(dir)), os.RemoveAll(dir))
}

// sweep removes the places of nodes whose processes were killed, and returns their folders.
func sweep() (left []string, err error) { return scratch.Sweep(prefix, removePlace) }
