package cli

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"sigs.k8s.io/yaml"

	unit "clusterpki.io/operator/config/agent"
	"clusterpki.io/operator/internal/export"
)

// The forms in which the files of a host are printed.
const (
	formatScript    = "script"
	formatCloudInit = "cloud-init"
)

// Where the files of an agent lie on its host, beside its kubeconfigs.
const (
	agentConfigFile = "/etc/clusterpki/agent.yaml"
	agentUnitFile   = "/etc/systemd/system/clusterpki-agent.service"
)

// agentFile is one of a host's, below its root.
func agentFile(at string, mode fs.FileMode, text []byte) export.File {
	return export.File{Path: strings.TrimPrefix(at, "/"), Mode: mode, Data: append(bytes.Clone(bytes.TrimRight(text, "\n")), '\n')}
}

// agentFiles are what a host needs beside the kubeconfig.
func agentFiles(cfg []byte, kubeconfig export.File) []export.File {
	return []export.File{agentFile(agentConfigFile, 0o644, cfg), kubeconfig, agentFile(agentUnitFile, 0o644, unit.Unit)}
}

// endOfFile ends a file in a script. None has such a line.
const endOfFile = "END_OF_CLUSTERPKI_FILE"

const scriptHead = `#!/bin/sh
# Brings host %s what its agent needs. This holds a token: pipe it to the host, and keep no copy.
# With DESTDIR set, the files are written below that directory, for an image, and nothing is started.
set -eu
umask 077
DESTDIR=${DESTDIR:-}
if [ -z "$DESTDIR" ]; then
  [ "$(id -u)" = 0 ] || { echo "nothing is written: this has to run as root" >&2; exit 1; }
  [ -x /usr/local/bin/clusterpki ] || { echo "nothing is written: put the program at /usr/local/bin/clusterpki first" >&2; exit 1; }
fi
prepare() {
  (umask 022; mkdir -p "$(dirname "$DESTDIR$1")")
  cat > "$DESTDIR$1.new"
  chmod "$2" "$DESTDIR$1.new"
}
put() {
  prepare "$1" "$2"
  mv -f "$DESTDIR$1.new" "$DESTDIR$1"
}
# What people edit stays as it is.
keep() {
  prepare "$1" "$2"
  if [ -e "$DESTDIR$1" ] && [ "$(cat "$DESTDIR$1")" != "$(cat "$DESTDIR$1.new")" ]; then
    echo "$1 is there, and differs from what it would be now: it stays, compare it with $1.new" >&2
  else
    mv -f "$DESTDIR$1.new" "$DESTDIR$1"
  fi
}
`

const scriptTail = `if [ -z "$DESTDIR" ]; then
  systemctl daemon-reload </dev/null
  systemctl enable clusterpki-agent </dev/null
  systemctl restart clusterpki-agent </dev/null
fi
`

// printScript prints a shell script that writes files, and starts the agent where its unit is among them.
func printScript(w io.Writer, host string, files []export.File) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, scriptHead, host)
	var starts bool
	for _, f := range files {
		how := "put"
		switch at := "/" + f.Path; at {
		case agentConfigFile:
			how = "keep"
		case agentUnitFile:
			starts = true
		}
		fmt.Fprintf(&out, "%s /%s %04o <<'%s'\n%s%s\n", how, f.Path, f.Mode, endOfFile, f.Data, endOfFile)
	}
	if starts {
		out.WriteString(scriptTail)
	}
	if _, err := out.WriteTo(w); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// cloudInit is what cloud-init reads as user data.
type cloudInit struct {
	WriteFiles []cloudFile `json:"write_files"` //nolint:tagliatelle // cloud-init's
	Run        [][]string  `json:"runcmd"`
}

type cloudFile struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions"`
	Content     string `json:"content"`
}

// printCloudInit prints user data that writes files, and starts the agent.
func printCloudInit(w io.Writer, files []export.File) error {
	data := cloudInit{Run: [][]string{{"systemctl", "daemon-reload"}, {"systemctl", "enable", "--now", "clusterpki-agent"}}}
	for _, f := range files {
		data.WriteFiles = append(data.WriteFiles, cloudFile{"/" + f.Path, fmt.Sprintf("%04o", f.Mode), string(f.Data)})
	}
	text, err := yaml.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode the user data: %w", err)
	}
	if _, err := w.Write(append([]byte("#cloud-config\n"), text...)); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
