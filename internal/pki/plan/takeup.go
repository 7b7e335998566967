package plan

// UnknownSpec stands for a spec that could not be read yet, such as that of an import whose Secret is not there.
const UnknownSpec = "?"

// TakeUp is the ledger once an object has taken up a CA that was retained. Whoever creates that needs no right to rotate it: a spec that differs from the one
// that the CA was made for rotates nothing by itself. It is no step of the CA's, and has no revision of its own: what was restored is what was saved.
func (l Ledger) TakeUp() Ledger {
	l.TakenUp = UnknownSpec
	return l
}

// TakenAs is the ledger once it is known which spec that was.
func (l Ledger) TakenAs(specHash string) Ledger {
	l.TakenUp = specHash
	if active, ok := l.Active(); ok && active.SpecHash == specHash && l.in(Trusted) == nil {
		l.TakenUp = ""
	}
	return l
}

// Taken says whether a spec is the one with which the CA was taken up.
func (l Ledger) Taken(specHash string) bool {
	return l.TakenUp == UnknownSpec || l.TakenUp != "" && l.TakenUp == specHash
}

// Differs says whether the active generation is not what the spec asks for, and is not rotated because the CA was taken up with that.
func (l Ledger) Differs(specHash string) bool {
	active, ok := l.Active()
	return ok && l.Taken(specHash) && active.SpecHash != specHash
}
