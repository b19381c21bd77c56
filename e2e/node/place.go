// SPDX-License-Identifier: Apache-2.0

package node

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/tagpin/tagpin/e2e/scratch"
)

// prefix is the beginning of the names of nodes' folders and cgroups. Nothing else is ever removed.
const prefix = "tagpin-node-"

// place is the folder of a node, and the cgroup of its pods, which has the folder's name.
type place struct {
	dir  string
	lock *os.File // locked while this process or the node's first process runs
}

// newPlace makes a folder and a cgroup.
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

// remove removes the folder and the cgroup, when the processes in the cgroup have ended.
func (p *place) remove() error { return errors.Join(removePlace(p.dir), p.lock.Close()) }

func removePlace(dir string) error {
	return errors.Join(removeCgroups(filepath.Base(dir)), os.RemoveAll(dir))
}

// sweep removes the places of nodes whose processes were killed, and returns their folders.
func sweep() (left []string, err error) { return scratch.Sweep(prefix, removePlace) }
