// SPDX-License-Identifier: Apache-2.0

// Command gitea is Gitea with a database driver that needs no C compiler.
package main

import (
	"database/sql"
	"database/sql/driver"
	"os"
	"strings"

	"code.gitea.io/gitea/cmd"
	"code.gitea.io/gitea/modules/setting"
	"modernc.org/sqlite"
)

func main() {
	sql.Register("sqlite3", &pureGo{})
	setting.EnableSQLite3 = true
	// It has printed the error.
	if cmd.RunMainApp(cmd.NewMainApp(cmd.AppVersion{}), os.Args...) != nil {
		os.Exit(1)
	}
}

// pureGo is the SQLite of modernc.org. Gitea's options are those of another driver.
type pureGo struct{ sqlite.Driver }

// Open opens a database, with the options that Gitea means.
func (d *pureGo) Open(name string) (driver.Conn, error) {
	file, _, _ := strings.Cut(name, "?")
	return d.Driver.Open(file +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
}
