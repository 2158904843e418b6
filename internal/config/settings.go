package config

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// FromDefault is the source of a setting that nobody has made.
const FromDefault = "default"

// Setting is one of the settings in force.
type Setting struct {
	Key    string `json:"key"`    // as TOML writes it: smtp.listen
	Value  string `json:"value"`  // as TOML writes it
	Source string `json:"source"` // FILE:LINE, a flag, an environment variable, or FromDefault
}

// SetBy notes that something else than the file has made a setting.
func (c *Config) SetBy(key, source string) {
	c.sources = maps.Clone(c.sources)
	if c.sources == nil {
		c.sources = map[string]string{}
	}
	c.sources[strings.ToLower(key)] = source
}

// IsSet reports whether somebody has made a setting.
func (c *Config) IsSet(key string) bool { return c.sources[strings.ToLower(key)] != "" }

// Settings lists the settings in force, in the order of Config.
func (c *Config) Settings() ([]Setting, error) {
	var list []Setting
	err := visit(reflect.ValueOf(c).Elem(), nil, func(key toml.Key, v reflect.Value) error {
		if v.IsZero() && v.Kind() == reflect.Map {
			return nil
		}
		text, err := inTOML(v.Interface())
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		source, ok := c.sources[strings.ToLower(key.String())]
		if !ok {
			source = FromDefault
		}
		if key.String() == "account.password" && text != `""` {
			text = `"********"` // for the eyes of whoever looks over the shoulder
		}
		list = append(list, Setting{key.String(), text, source})
		return nil
	})
	return list, err
}

// visit calls f for each setting below v.
func visit(v reflect.Value, at toml.Key, f func(toml.Key, reflect.Value) error) error {
	switch {
	case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[Config]().PkgPath():
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !isSetting(field) {
				continue
			}
			key := at
			if name := tomlName(field); name != "" { // else its fields are at this level
				key = append(slices.Clone(at), name)
			}
			if err := visit(v.Field(i), key, f); err != nil {
				return err
			}
		}
		return nil
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			if err := visit(v.MapIndex(k), append(slices.Clone(at), k.String()), f); err != nil {
				return err
			}
		}
		return nil
	}
	return f(at, v)
}

func isSetting(f reflect.StructField) bool { return f.IsExported() && tomlName(f) != "-" }

func tomlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	return name
}

// inTOML writes a value.
func inTOML(v any) (string, error) {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice && r.Len() == 0 {
		return "[]", nil // toml leaves a nil one out
	}
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(map[string]any{"v": v}); err != nil {
		return "", err
	}
	return strings.TrimSpace(strings.TrimPrefix(b.String(), "v =")), nil
}

// known lists all settings, with "*" for names that people choose.
func known() []string {
	var keys []string
	var walk func(t reflect.Type, at string)
	walk = func(t reflect.Type, at string) {
		switch {
		case t.Kind() == reflect.Map:
			walk(t.Elem(), at+".*")
		case t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[Config]().PkgPath():
			for i := range t.NumField() {
				if f := t.Field(i); isSetting(f) {
					walk(f.Type, strings.Trim(at+"."+tomlName(f), "."))
				}
			}
		default:
			keys = append(keys, at)
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return keys
}

// lines tells on which line of a file each key stands.
func lines(data string, md toml.MetaData) map[string]int {
	at := map[string]int{}
	text := strings.Split(data, "\n")
	n := 0
	for _, key := range md.Keys() { // in the order of the file
		name := key[len(key)-1]
		for i := n; i < len(text); i++ {
			if begins(text[i], name, md.Type(key...) == "Hash") {
				n = i
				break
			}
		}
		at[key.String()] = n + 1 // where it was not found: within an inline table, it is on the line of that
	}
	return at
}

// begins tells whether a line begins a table or a setting of that name.
func begins(line, name string, table bool) bool {
	line = strings.TrimSpace(line)
	if table && strings.HasPrefix(line, "[") {
		return strings.Contains(line, name)
	}
	left, _, ok := strings.Cut(line, "=")
	left = strings.Trim(strings.TrimSpace(left), `"'`)
	return ok && (left == name || strings.HasSuffix(left, "."+name))
}

// suggest finds the setting that was most likely meant; "" for none.
func suggest(key string) string {
	_, name := cutLast(key)
	best, least := "", 1+max(2, len(key)/3)
	for _, k := range known() {
		if _, n := cutLast(k); n == name {
			return k // in another table
		}
		if d := distance(key, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, remove or exchange to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
