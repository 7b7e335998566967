package controller

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
)

// maxNote bounds the note of an event, in bytes: the API server refuses a longer one.
const maxNote = 1024

// boundedEvents cuts the notes of events.
type boundedEvents struct{ events.EventRecorder }

// Eventf implements events.EventRecorder.
func (r boundedEvents) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	text := fmt.Sprintf(note, args...)
	if len(text) > maxNote {
		text = strings.ToValidUTF8(text[:maxNote-3], "") + "..."
	}
	r.EventRecorder.Eventf(regarding, related, kind, reason, action, "%s", text)
}
