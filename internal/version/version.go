// Package version says which build of clusterpki a program is.
package version

import (
	"runtime"
	"runtime/debug"
)

// Info is what is known of a build. Fields are added to it, and none is renamed.
type Info struct {
	// Version is the tag of a release, else the commit, else 'devel'.
	Version string `json:"version"`
	// Commit is the commit that was built, and Modified whether there were changes beside it; absent where the build
	// does not know, as without git.
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	// Go is the version of the compiler.
	Go string `json:"go"`
	// Platform is the system and the processor, as in 'linux/amd64'.
	Platform string `json:"platform"`
}

// Get is that of this program.
func Get() Info {
	b := Info{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	switch v := info.Main.Version; {
	case v != "" && v != "(devel)":
		b.Version = v
	case b.Commit != "":
		b.Version = b.Commit
	default:
		b.Version = "devel"
	}
	return b
}

// Text is it for people.
func (i Info) Text() string {
	text := "clusterpki " + i.Version + "\n"
	if i.Commit != "" && i.Commit != i.Version {
		text += "commit     " + i.Commit + "\n"
	}
	return text + "built by   " + i.Go + " for " + i.Platform + "\n"
}
