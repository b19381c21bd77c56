// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSelected selects each version of Kubernetes by the name of its folder.
func TestSelected(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := os.ReadDir(filepath.Join(root, "versions"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("versions has %d folders, %v, want at least one", len(folders), err)
	}
	for _, folder := range folders {
		k, err := selected(root, folder.Name())
		if want := filepath.Join(root, "versions", folder.Name()); err != nil || k.Module != want || k.Newest {
			t.Errorf("selected(%s) = %+v, %v, want the module in %s", folder.Name(), k, err, want)
		}
		if _, ok := k.binaries()["kubelet"]; ok {
			t.Errorf("the programs of %s include the kubelet, whose packages its go.mod lacks", folder.Name())
		}
		version, err := k.version(t.Context())
		if err != nil || !strings.HasPrefix(version, "v"+folder.Name()+".") {
			t.Errorf("versions/%s pins Kubernetes %s, %v, want a version of that name", folder.Name(), version, err)
		}
		flags, err := k.parse(version)
		if minor := fmt.Sprint("1.", k.Minor); err != nil || minor != folder.Name() ||
			!strings.Contains(flags, "gitVersion="+version+" ") {
			t.Errorf("parse(%s) = %s, %v, and the version %s", version, flags, err, minor)
		}
	}
	if k, err := selected(root, ""); err != nil || k.Module != root || !k.Newest {
		t.Errorf("selected without a name = %+v, %v, want the newest, in %s", k, err, root)
	}
}

// TestSelectedNone checks that the error of a wrong name says which versions there are.
func TestSelectedNone(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "versions", "1.30"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"1.31": "it has 1.30", "../..": "not the name of a version"} {
		_, err := selected(root, name)
		if err == nil || !strings.Contains(err.Error(), KubernetesVariable+"="+name) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("selected(%s) = %v, want %s", name, err, want)
		}
	}
}

// TestInvalidVersion has versions that no release of Kubernetes has.
func TestInvalidVersion(t *testing.T) {
	for _, version := range []string{"", "v1.30", "v1.x.0"} {
		if flags, err := new(Kubernetes).parse(version); err == nil {
			t.Errorf("parse(%q) = %s, want an error", version, flags)
		}
	}
}
