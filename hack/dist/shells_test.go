// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"path/filepath"
	"strings"
	"testing"
)

// completions are scripts that load the completion of a shell and print what it suggests for a
// line. PowerShell is missing: it is in no package of Debian.
var completions = map[string]string{
	// The functions of the package bash-completion are not needed: the script has its own, except one.
	"bash": `_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD; }
source <(tagpin completion bash)
read -ra COMP_WORDS <<< "$LINE"
[[ $LINE != *" " ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=63
__start_tagpin
if compopt 2> /dev/null; then :; fi
printf '%s\n' "${COMPREPLY[@]}"`,
	"fish": `tagpin completion fish | source
complete --do-complete "$LINE"`,
	// zsh only completes in an editor, so it runs in a terminal of its own.
	"zsh": `zmodload zsh/zpty
zpty shell zsh -f -i
send() { zpty -w shell "$1" }
send 'PS1=; autoload -U compinit; compinit -u -d $HOME/dump; source <(tagpin completion zsh); zstyle ":completion:*" list-prompt ""; setopt AUTO_LIST; bindkey "^I" complete-word; unsetopt beep; echo rea""dy'
zpty -r -m shell out '*ready*'
zpty -n -w shell "$LINE"$'\t'
zpty -n -w shell $'\t'
for i in {1..50}; do
  zpty -r -t shell part && print -rn -- "$part" || sleep 0.1
done
zpty -d shell`,
}

// TestShells loads the completion into real shells.
func TestShells(t *testing.T) {
	tagpinInPath(t)
	for program, script := range completions {
		t.Run(program, func(t *testing.T) {
			needs(t, program)
			t.Setenv("HOME", t.TempDir())
			t.Setenv("TERM", "dumb")
			dir := t.TempDir()
			write(t, filepath.Join(dir, "one.yaml"), "")
			for line, want := range map[string][]string{
				"tagpin resolve --platform linux/arm": {"linux/arm64", "linux/arm/v7"},
				"tagpin config ":                      {"from-containerd", "validate"},
				"tagpin completion ":                  {"bash", "powershell"},
			} {
				t.Setenv("LINE", line)
				c := command(t, program, "-c", script)
				c.Dir = dir
				out, err := c.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				for _, w := range want {
					if !strings.Contains(string(out), w) {
						t.Errorf("%s suggests for %q:\n%s\nwant %s", program, line, out, w)
					}
				}
				if strings.Contains(string(out), "linux/s390x") {
					t.Errorf("%s suggests for %q what does not begin so:\n%s", program, line, out)
				}
			}
		})
	}
}
