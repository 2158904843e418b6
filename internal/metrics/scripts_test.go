package metrics

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const scripts = "../../scripts/metrics"

// expressions are those of PromQL in the alert rules and the dashboard.
func expressions(t *testing.T) (all []string) {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(scripts, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for line := range strings.Lines(string(read("alerts.yml"))) {
		if expr, ok := strings.CutPrefix(strings.TrimSpace(line), "expr: "); ok {
			all = append(all, expr)
		}
	}
	alerts := len(all)
	var dashboard struct {
		Panels     []struct{ Targets []struct{ Expr string } }
		Templating struct{ List []struct{ Definition string } }
	}
	if err := json.Unmarshal(read("dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, v := range dashboard.Templating.List {
		all = append(all, v.Definition)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	if alerts < 10 || len(all) < alerts+30 {
		t.Fatalf("%d alerts, %d expressions in all", alerts, len(all))
	}
	return all
}

var (
	sample   = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? `)
	selector = regexp.MustCompile(`\b((?:xm|go|process)_[a-z_]+)(?:\{([^}]*)\})?`)
	label    = regexp.MustCompile(`([a-z_]+)(=~?)"([^"]*)"`)
	by       = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// labels are the values of each label of a figure.
type labels map[string][]string

// exported are the labels of each figure that /metrics has.
func exported(t *testing.T) map[string]labels {
	all := map[string]labels{}
	for _, m := range sample.FindAllStringSubmatch(get(t, everything(), fine(), "/metrics", 200), -1) {
		if all[m[1]] == nil {
			all[m[1]] = labels{"job": {"xm"}, "instance": {""}} // which Prometheus adds
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			all[m[1]][l[1]] = append(all[m[1]][l[1]], l[3])
		}
	}
	return all
}

// What scripts/metrics looks at is there: each figure, each label of it, and the
// values that are asked for.
func TestScripts(t *testing.T) {
	figures := exported(t)
	used := map[string]bool{}
	for _, expr := range expressions(t) {
		if expr == "" {
			continue
		}
		for _, pair := range []string{"()", "{}", "[]"} {
			if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
				t.Errorf("%s: %s do not match", expr, pair)
			}
		}
		var grouped []string
		for _, b := range by.FindAllStringSubmatch(expr, -1) {
			grouped = append(grouped, strings.Split(b[1], ", ")...)
		}
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			figure, ok := figures[m[1]]
			if used[m[1]] = true; !ok {
				t.Errorf("%s: there is no %s", expr, m[1])
				continue
			}
			for _, name := range grouped {
				if figure[name] == nil {
					t.Errorf("%s: %s has no label %s", expr, m[1], name)
				}
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				if !matches(figure[l[1]], l[2], l[3]) {
					t.Errorf("%s: %s has no %s", expr, m[1], l[0])
				}
			}
		}
	}
	for name := range figures {
		name = regexp.MustCompile(`_(sum|count|bucket)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, namespace+"_") && !slices.ContainsFunc(slices.Collect(maps.Keys(used)), func(u string) bool { return strings.HasPrefix(u, name) }) {
			t.Errorf("%s is on no panel, and in no alert", name)
		}
	}
}

func matches(values []string, operator, want string) bool {
	if strings.Contains(want, "$") { // a variable of the dashboard
		return values != nil
	}
	if operator == "=" {
		return slices.Contains(values, want)
	}
	pattern := regexp.MustCompile("^(?:" + want + ")$")
	return slices.ContainsFunc(values, pattern.MatchString)
}
