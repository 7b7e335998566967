package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// complaint matches what a component logs when it refuses another one, or is refused: whatever the load does not
// see, because it is between the components themselves.
var complaint = regexp.MustCompile(`x509: |tls: |TLS handshake error|Unauthorized|Unable to authenticate`)

// logSizes are the sizes of the components' logs.
func logSizes(dir string) (map[string]int64, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	out := map[string]int64{}
	for _, f := range files {
		if filepath.Base(f) == managerLog+".log" {
			continue // this process's, which holds the clients of the load too
		}
		info, err := os.Stat(f)
		if err != nil {
			return nil, fmt.Errorf("look at a log: %w", err)
		}
		out[f] = info.Size()
	}
	return out, nil
}

// complaints are the lines, each with the name of its log, that complain of TLS or authentication and were logged
// after the given sizes; of other logs than those there are none.
func complaints(sizes map[string]int64) (out []string, err error) {
	for f, size := range sizes {
		lines, err := complaintsIn(f, size)
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	slices.Sort(out)
	return out, nil
}

func complaintsIn(name string, from int64) (out []string, err error) {
	file, err := os.Open(name) //nolint:gosec // a log of ours
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		if complaint.MatchString(line) {
			out = append(out, strings.TrimSuffix(filepath.Base(name), ".log")+": "+strings.TrimSpace(line))
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("read %s: %w", name, err)
		}
	}
}
