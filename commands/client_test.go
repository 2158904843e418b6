package commands_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

func ids(ts *testscript.TestScript, neg bool, args []string) {
	var list []struct {
		Number int
		ID     string
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &list))
	for _, m := range list {
		ts.Setenv(fmt.Sprintf("ID%d", m.Number), m.ID)
	}
}

func draft(ts *testscript.TestScript, neg bool, args []string) {
	found, err := filepath.Glob(filepath.Join(ts.Getenv("HOME"), ".local/share/xm/*/drafts/*"))
	ts.Check(err)
	if len(found) != 1 {
		ts.Fatalf("there are %d drafts", len(found))
	}
	ts.Setenv("DRAFT", found[0])
}

func replay(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	files, err := os.ReadDir(dir)
	ts.Check(err)
	message, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "99"+files[0].Name()), message, 0o600))
}
