package config

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/BurntSushi/toml"
)

// explain tells where in a file toml found an error, and what is to be there.
func explain(path string, err error) error {
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%s, line %d: %s", path, syntax.Position.Line, syntax.Message)
	}
	if m := regexp.MustCompile(wrongType).FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s, line %s: %s is to be %s", path, m[1], m[2], kind(m[3]))
	}
	return fmt.Errorf("%s: %w", path, err)
}

// wrongType are toml's words for a value of another type than the setting's; there
// is no type of its own for that error.
const wrongType = `^toml: line (\d+) \(last key "(.*)"\): .*(?:destination has type|expected) (\w+)`

// kind says how a value of one of toml's types is written.
func kind(of string) string {
	switch of {
	case "string":
		return `a text: "..."`
	case "slice":
		return `a list: ["..."]`
	case "boolean":
		return "true or false"
	case "table":
		return "a table, which begins with its name in []"
	case "integer":
		return "a whole number"
	}
	return of
}
