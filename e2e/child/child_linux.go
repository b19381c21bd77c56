// SPDX-License-Identifier: Apache-2.0

package child

import (
	"os/exec"
	"syscall"
)

// tie makes the kernel kill the program when the thread that starts it ends.
func tie(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
