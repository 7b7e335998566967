package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// progress tells a person what happens and how long it took.
type progress struct {
	mu           sync.Mutex // an interrupt is announced beside what is going on
	w            io.Writer
	clock        clock.PassiveClock
	start, began time.Time
}

func newProgress(w io.Writer, c clock.PassiveClock) *progress {
	return &progress{w: w, clock: c, start: c.Now()}
}

// begin announces a step.
func (p *progress) begin(current, last int, title string) {
	p.began = p.clock.Now()
	p.printf("\n[%d/%d] %s\n", current, last, title)
}

// end says how long the step took.
func (p *progress) end() {
	p.printf("      done in %s (%s so far)\n", seconds(p.clock.Since(p.began)), p.soFar())
}

// say prints something within a step.
func (p *progress) say(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	p.printf("      %s\n", strings.ReplaceAll(text, "\n", "\n      "))
}

// summary prints something that belongs to no step.
func (p *progress) summary(format string, args ...any) {
	p.printf("\n"+format+"\n", args...)
}

func (p *progress) soFar() string { return seconds(p.clock.Since(p.start)) }

func (p *progress) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format, args...)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
