package controller

// Progress shows a test the reconciliations of its own operator, of several in this process.
type Progress struct{ progress }

// Into is these options, of an operator that shows its progress there.
func (o Options) Into(p *Progress) Options {
	o.progress = &p.progress
	return o
}

// Visits are how many reconciliations are under way, and how many have ended.
func (p *Progress) Visits() (running, ended int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.ended
}
