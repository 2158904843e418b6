package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// Load reads the file at path, or, if path is empty, the first that exists of
// ./xm.toml, xm/xm.toml in the user's config directory, and /etc/xm/xm.toml.
// Without a file, it returns the defaults.
func Load(path string) (Config, error) {
	c, err := defaults()
	if err != nil {
		return Config{}, err
	}
	if path == "" {
		if path, err = find(); err != nil || path == "" {
			return c, err
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	err = c.read(path, string(data))
	return c, err
}

// Check reports whether text is a config.
func Check(text string) error {
	c, err := defaults()
	if err != nil {
		return err
	}
	return c.read("xm.toml", text)
}

// read takes the settings of a file over the ones that are there.
func (c *Config) read(path, data string) error {
	md, err := toml.Decode(data, c)
	if err != nil {
		return explain(path, err)
	}
	c.File = path
	for key, line := range lines(data, md) {
		c.SetBy(key, fmt.Sprintf("%s:%d", path, line))
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		return c.unknown(unknown[0].String())
	}
	for _, key := range [][]string{{"login", "failure_delay"}, {"pop3", "login_delay"}} {
		if md.Type(key...) == "Integer" {
			return fmt.Errorf(`%s: %s needs a unit: "1s", say`, path, strings.Join(key, "."))
		}
	}
	c.resolvePaths(filepath.Dir(path), md)
	if err := c.foldPostmaster(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := c.foldDomains(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// systemFile is the config of a server that was installed for all.
var systemFile = "/etc/xm/xm.toml"

// stat is os.Stat, but in tests: root's is never denied.
var stat = os.Stat

func find() (string, error) {
	places := []string{"xm.toml"}
	if dir, err := os.UserConfigDir(); err == nil { // without a home there is none
		places = append(places, filepath.Join(dir, "xm", "xm.toml"))
	}
	places = append(places, systemFile)
	var denied error // of a directory of somebody else's: what counts is whether there is another file
	for _, p := range places {
		_, err := stat(p)
		switch {
		case err == nil:
			return p, nil
		case errors.Is(err, fs.ErrNotExist), p == systemFile: // which may be for its server alone
		case errors.Is(err, fs.ErrPermission):
			denied = errors.Join(denied, err)
		default:
			return "", err
		}
	}
	return "", denied
}

func (c *Config) unknown(key string) error {
	err := fmt.Errorf("%s: unknown setting %q", c.sources[strings.ToLower(key)], key)
	if meant := suggest(key); meant != "" {
		err = fmt.Errorf("%w; is it %q?", err, meant)
	}
	return err
}

func (c *Config) resolvePaths(dir string, md toml.MetaData) {
	if md.IsDefined("data_dir") && c.DataDir != "" { // which check refuses
		c.DataDir = under(dir, c.DataDir)
	}
	if md.IsDefined("regd", "keys") {
		c.Regd.Keys = under(dir, c.Regd.Keys)
	}
	for _, file := range []*string{&c.Account.PasswordFile, &c.Account.Keys, &c.TLS.Cert, &c.TLS.Key, &c.TLS.ACMECA, &c.TLS.ACMEState} {
		if *file != "" {
			*file = under(dir, *file)
		}
	}
}

func under(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
