// Package shell quotes what others have chosen, where a person may paste the text into a shell.
package shell

import "strings"

// Quote is a text as one word of a POSIX shell, which expands nothing in it. In YAML it is the same text too, unless it holds a quotation mark.
func Quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
