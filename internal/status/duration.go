package status

import (
	"fmt"
	"time"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// HumanDuration is a duration in its two largest units, such as '9y 364d', '25d', '3d 4h', '12m 5s' or '0s'. A year has 365 days.
func HumanDuration(d time.Duration) string {
	d = d.Abs().Truncate(time.Second)
	switch {
	case d >= year:
		return two(d, year, "y", day, "d")
	case d >= 10*day:
		return fmt.Sprintf("%dd", d/day)
	case d >= day:
		return two(d, day, "d", time.Hour, "h")
	case d >= time.Hour:
		return two(d, time.Hour, "h", time.Minute, "m")
	case d >= time.Minute:
		return two(d, time.Minute, "m", time.Second, "s")
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}

func two(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	if rest := d % large / small; rest > 0 {
		return fmt.Sprintf("%d%s %d%s", d/large, largeName, rest, smallName)
	}
	return fmt.Sprintf("%d%s", d/large, largeName)
}

// Until is how far a moment lies ahead or back, such as 'in 9y 364d' or '3d ago'.
func Until(now, at time.Time) string {
	if at.Before(now) {
		return HumanDuration(now.Sub(at)) + " ago"
	}
	return "in " + HumanDuration(at.Sub(now))
}

// date is a day in UTC, with the time of day where it is less than two days away; "" for no time.
func date(now, t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case t.Sub(now).Abs() < 2*day:
		return t.UTC().Format("2006-01-02 15:04")
	default:
		return t.UTC().Format(time.DateOnly)
	}
}
