package commands

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
)

func showConfig() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "print the settings in force, and where each comes from",
		Description: "What is printed can be used as xm.toml in the current directory, which its relative paths\n" +
			"are relative to; the password in [account] is not shown. The source of a setting is a line\n" +
			"of the file, a flag, an environment variable, or the default.",
		Flags:  []cli.Flag{jsonFlag()},
		Action: runConfig,
	}
}

// shownConfig is the output of xm config.
type shownConfig struct {
	File     string           `json:"file"` // empty for none
	Settings []config.Setting `json:"settings"`
}

func runConfig(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	settings, err := cfg.Settings()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, shownConfig{cfg.File, settings})
	}
	file := cfg.File
	if file == "" {
		file = "there is no file"
	}
	fmt.Fprintf(c.App.Writer, "# %s\n", file)
	w := newColumns(c.App.Writer)
	for _, s := range settings {
		fmt.Fprintf(w, "%s = %s\t# %s\n", s.Key, s.Value, s.Source)
	}
	return w.Flush()
}
