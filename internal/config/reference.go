package config

import (
	_ "embed"
	"fmt"
	"strings"
)

// Reference is a config with every setting, commented out, and what it means:
// what xm init and the manual are made of.
//
//go:embed reference.toml
var Reference string

// Value is a setting and its value in TOML.
type Value struct{ Key, TOML string }

// Write returns the reference with some settings in force. A setting that it does
// not have is an error.
func Write(values []Value) (string, error) {
	text := Reference
	for _, v := range values {
		at, end := findSetting(text, v.Key)
		if at < 0 {
			return "", fmt.Errorf("there is no setting %s", v.Key)
		}
		_, name := cutLast(v.Key)
		text = text[:at] + name + " = " + v.TOML + text[end:]
	}
	return text, nil
}

// findSetting tells where the line of a setting begins and ends; -1 if it is not
// there.
func findSetting(text, key string) (at, end int) {
	table, name := cutLast(key)
	current, at := "", 0
	for line := range strings.SplitAfterSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\n")
		if t, ok := strings.CutPrefix(line, "["); ok {
			current = strings.TrimSuffix(t, "]")
		}
		if current == table && strings.HasPrefix(strings.TrimPrefix(line, "#"), name+" = ") {
			return at, at + len(line)
		}
		at += len(line) + len("\n")
	}
	return -1, -1
}

// cutLast cuts a setting's name from the table's.
func cutLast(key string) (table, name string) {
	i := strings.LastIndexByte(key, '.')
	return key[:max(0, i)], key[i+1:]
}
