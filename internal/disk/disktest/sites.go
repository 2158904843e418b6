package disktest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Mutate proves that a crash test sees every fsync that the program in the
// working directory asks for: it runs test, which must succeed, and again for
// each call of Sync, SyncData, SyncAll or SyncDir in the program's source with that
// call ignored, which must fail. A short run (testing.Short) leaves that part out: it
// looks at too few states for it.
//
// The test is given what to ignore (Disk.Ignored), nil the first time, and whether a
// quick look (Disk.Quick) will do: it
// finds most of what is left out; only where it does not, the whole test is run.
func Mutate(t *testing.T, test func(ignored func(site string) bool, quick bool) error) {
	t.Helper()
	if err := test(nil, false); err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		return
	}
	sites := syncSites(t)
	if len(sites) == 0 {
		t.Fatal("nothing is synced here")
	}
	for _, site := range sites {
		t.Run(site, func(t *testing.T) {
			t.Parallel()
			ignored := func(s string) bool { return s == site }
			err := test(ignored, true)
			if err == nil {
				err = test(ignored, false)
			}
			if err == nil {
				t.Errorf("nobody notices when the fsync at %s is left out", site)
			}
			t.Log(err)
		})
	}
}

// syncSites are the places in the working directory that sync.
func syncSites(t *testing.T) (sites []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		called := map[ast.Expr]bool{}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				called[call.Fun] = true
			}
			if f, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Sync", "SyncData", "SyncAll", "SyncDir"}, f.Sel.Name) {
				site := fmt.Sprintf("%s:%d", name, set.Position(f.Pos()).Line)
				if !called[f] { // the place of the call would be another one
					t.Errorf("%s: %s is not called here: put it into a function", site, f.Sel.Name)
				}
				sites = append(sites, site)
			}
			return true
		})
	}
	return sites
}
