package keypool

import (
	"slices"

	"clusterpki.io/operator/internal/pki"
)

// next waits for the next request, of the namespace whose turn it is; nil: the pool has ended.
func (p *Pool) next() *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.turn) == 0 && !p.ended {
			p.changed.Wait()
		}
		if p.ended {
			return nil
		}
		ns := p.turn[0]
		p.turn = p.turn[1:]
		if r := p.first(ns); r != nil {
			p.making[ns] = true
			return r
		}
	}
}

// first takes the first request of a namespace that somebody still wants; nil: there is none.
func (p *Pool) first(ns string) *request {
	i := slices.IndexFunc(p.waiting[ns], func(r *request) bool { return !r.void })
	if i < 0 {
		delete(p.waiting, ns)
		return nil
	}
	r := p.waiting[ns][i]
	if p.waiting[ns] = p.waiting[ns][i+1:]; len(p.waiting[ns]) == 0 {
		delete(p.waiting, ns)
	}
	return r
}

// finished keeps a key that was made until it is fetched, and gives its namespace another turn. It returns who is to be told.
func (p *Pool) finished(r *request, key pki.PrivateKey, err error) func(Owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ns := r.owner.Namespace
	delete(p.making, ns)
	if len(p.waiting[ns]) > 0 {
		p.turn = append(p.turn, ns)
		p.changed.Signal()
	}
	if r.void {
		return nil
	}
	r.done, r.key, r.err = true, key, err
	p.made[ns] = append(p.made[ns], r)
	if len(p.made[ns]) > maxUnfetched {
		p.drop(p.made[ns][0])
	}
	return p.notify[r.owner.Kind]
}

// unlist takes a request out of those that wait to be fetched.
func (p *Pool) unlist(r *request) {
	ns := r.owner.Namespace
	p.made[ns] = slices.DeleteFunc(p.made[ns], func(o *request) bool { return o == r })
	if len(p.made[ns]) == 0 {
		delete(p.made, ns)
	}
}
