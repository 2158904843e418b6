package message

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	// datePattern is RFC 5322, sections 3.3 and 4.3, and what programs write that
	// don't keep to them: names in full, hyphens, no zone.
	datePattern = regexp.MustCompile(`(?i)^(?:[a-z]+\.?[ ,]+)?(\d{1,2})[ -]+([a-z]{3})[a-z]*[ -]+(\d{2,4}) +(\d{1,2}) ?: ?(\d\d)(?: ?: ?(\d\d))? ?(.*)$`)
	// ctimePattern is the date of C's ctime, and of date(1).
	ctimePattern = regexp.MustCompile(`(?i)^[a-z]{3} ([a-z]{3}) (\d{1,2}) (\d\d):(\d\d):(\d\d)(?: ([a-z]+))? (\d{4})$`)
	// zonePattern bounds the hours as RFC 3339 does, in which dates are shown to scripts.
	zonePattern = regexp.MustCompile(`^(?:GMT|UTC)? ?([+-])([01]\d|2[0-3]):?([0-5]\d)`)
)

// zones are those of RFC 5322, section 4.3, in hours; any other is as UTC.
var zones = map[string]int{"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}

// maxDate bounds a date, without comments.
const maxDate = 100

// parseDate reads a date; it is zero if there is none.
func parseDate(s string) time.Time {
	bare, _ := withoutComments(s)
	s = strings.Join(strings.Fields(bare), " ")
	if len(s) > maxDate {
		return time.Time{}
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t
	}
	s = strings.ReplaceAll(s, " ,", ",")
	if m := ctimePattern.FindStringSubmatch(s); m != nil {
		return makeDate(m[7], m[1], m[2], m[3], m[4], m[5], m[6])
	}
	if m := datePattern.FindStringSubmatch(s); m != nil {
		return makeDate(m[3], m[2], m[1], m[4], m[5], m[6], m[7])
	}
	return time.Time{}
}

func makeDate(year, month, day, hour, minute, second, zone string) time.Time {
	m, err := time.Parse("Jan", month)
	if err != nil {
		return time.Time{}
	}
	var n [5]int
	for i, digits := range []string{year, day, hour, minute, second} {
		n[i], _ = strconv.Atoi(digits) // "" is 0
	}
	switch { // RFC 5322, section 4.3
	case len(year) == 2 && n[0] < 50:
		n[0] += 2000
	case len(year) < 4:
		n[0] += 1900
	}
	location, ok := parseZone(zone)
	t := time.Date(n[0], m.Month(), n[1], n[2], n[3], 0, 0, location)
	if !ok || t.Day() != n[1] || t.Hour() != n[2] || t.Minute() != n[3] || n[4] > 60 { // there are leap seconds
		return time.Time{}
	}
	return t.Add(time.Duration(n[4]) * time.Second)
}

func parseZone(s string) (*time.Location, bool) {
	s = strings.ToUpper(s)
	if m := zonePattern.FindStringSubmatch(s); m != nil {
		hours, _ := strconv.Atoi(m[1] + m[2])
		minutes, _ := strconv.Atoi(m[1] + m[3])
		return time.FixedZone("", (hours*60+minutes)*60), true
	}
	name, _, _ := strings.Cut(s, " ")
	return time.FixedZone("", zones[name]*60*60), !strings.ContainsAny(s, "+-")
}

// withoutComments leaves out what stands in parentheses, which are nested, but for those
// in quotes (RFC 5322, section 3.2.2). closed says that none lacks its end.
func withoutComments(s string) (bare string, closed bool) {
	var out strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		begin := i
		switch {
		case s[i] == '\\' && i+1 < len(s) && (quoted || depth > 0):
			i++
		case s[i] == '"' && depth == 0:
			quoted = !quoted
		case s[i] == '(' && !quoted:
			depth++
			continue
		case s[i] == ')' && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			out.WriteString(s[begin : i+1])
		}
	}
	return out.String(), depth == 0
}
