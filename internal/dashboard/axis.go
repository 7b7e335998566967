package dashboard

import (
	"fmt"
	"math"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// Bar is one generation of a CA on the axis.
type Bar struct {
	Generation int32
	State      v1alpha1.GenerationState
	// Start is zero where it is not known: the status tells it of the active certificate and of the newest alone.
	Start, Renewal, End time.Time
	// X and Width are where it is drawn, and Renews where it is renewed, in percent of the axis; Renews is 0 for never.
	X, Width, Renews float64
}

// Axis is the time that the bars of a cluster share.
type Axis struct {
	Start, End time.Time
	Now        float64 // in percent
	Ticks      []Tick
}

// Tick is a date on an axis.
type Tick struct {
	At    float64 // in percent
	Label string
}

// barsOf are the generations of a CA; one without any has the bar of its certificate.
func barsOf(c *v1alpha1.ClusterCA) []Bar {
	cert, rotation := c.Status.Certificate, c.Status.Rotation
	var out []Bar
	for _, g := range c.Status.Generations {
		b := Bar{Generation: g.Number, State: g.State, End: g.NotAfter.Time}
		switch {
		case g.Number == cert.IssuerGeneration:
			b.Start, b.Renewal = cert.NotBefore.Time, cert.RenewalTime.Time
		case g.Number == max(rotation.From, rotation.To) && rotation.To != 0:
			b.Start = rotation.StartTime.Time
		}
		if !b.End.IsZero() {
			out = append(out, b)
		}
	}
	if len(out) == 0 && !cert.NotAfter.IsZero() {
		out = append(out, Bar{
			Generation: cert.IssuerGeneration, State: v1alpha1.GenerationActive,
			Start: cert.NotBefore.Time, Renewal: cert.RenewalTime.Time, End: cert.NotAfter.Time,
		})
	}
	return out
}

// axisOf spans all bars and the present, with some room at both ends.
func axisOf(now time.Time, bars []Bar) Axis {
	a := Axis{Start: now, End: now}
	for _, b := range bars {
		if !b.Start.IsZero() && b.Start.Before(a.Start) {
			a.Start = b.Start
		}
		if b.End.Before(a.Start) {
			a.Start = b.End
		}
		if b.End.After(a.End) {
			a.End = b.End
		}
	}
	room := max(a.End.Sub(a.Start)/25, time.Minute)
	a.Start, a.End = a.Start.Add(-room), a.End.Add(room)
	a.Now = a.at(now)
	a.ticks()
	return a
}

// at is where a moment lies, in percent.
func (a Axis) at(t time.Time) float64 {
	percent := 100 * float64(t.Sub(a.Start)) / float64(a.End.Sub(a.Start))
	return min(max(math.Round(percent*100)/100, 0), 100)
}

// place lays a bar out.
func (b *Bar) place(a Axis) {
	if !b.Start.IsZero() {
		b.X = a.at(b.Start)
	}
	b.Width = max(math.Round((a.at(b.End)-b.X)*100)/100, 0.4) // so that it can be seen
	if !b.Renewal.IsZero() {
		b.Renews = a.at(b.Renewal)
	}
}

// steps are the distances of ticks, the first with at most seven of them is taken.
var steps = []struct {
	every  time.Duration
	months int // for steps that have no fixed length
	layout string
}{
	{every: time.Minute, layout: "15:04"},
	{every: 5 * time.Minute, layout: "15:04"},
	{every: 15 * time.Minute, layout: "15:04"},
	{every: time.Hour, layout: "15:04"},
	{every: 6 * time.Hour, layout: "2 Jan 15:04"},
	{every: day, layout: "2 Jan"},
	{every: 2 * day, layout: "2 Jan"},
	{every: 7 * day, layout: "2 Jan"},
	{every: 30 * day, months: 1, layout: "Jan 2006"},
	{every: 91 * day, months: 3, layout: "Jan 2006"},
	{every: year, months: 12, layout: "2006"},
	{every: 2 * year, months: 24, layout: "2006"},
	{every: 5 * year, months: 60, layout: "2006"},
	{every: 10 * year, months: 120, layout: "2006"},
	{every: 25 * year, months: 300, layout: "2006"},
}

const maxTicks = 7

func (a *Axis) ticks() {
	step := steps[len(steps)-1]
	for _, s := range steps {
		if a.End.Sub(a.Start)/s.every < maxTicks {
			step = s
			break
		}
	}
	t := a.Start.UTC().Truncate(step.every)
	if step.months > 0 {
		months := (t.Year()*12 + int(t.Month()) - 1) / step.months * step.months
		t = time.Date(months/12, time.Month(months%12+1), 1, 0, 0, 0, 0, time.UTC)
	}
	for ; !t.After(a.End); t = next(t, step.every, step.months) {
		if at := a.at(t); !t.Before(a.Start) && at < 97 { // a label at the very end would not fit
			a.Ticks = append(a.Ticks, Tick{At: at, Label: t.Format(step.layout)})
		}
	}
}

func next(t time.Time, every time.Duration, months int) time.Time {
	if months > 0 {
		return t.AddDate(0, months, 0)
	}
	return t.Add(every)
}

// percent is a length as SVG wants it.
func percent(p float64) string { return fmt.Sprintf("%.2f%%", p) }
