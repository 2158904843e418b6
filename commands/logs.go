package commands

import (
	"log/slog"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
)

func logJSONFlag() cli.Flag {
	return &cli.BoolFlag{Name: "log-json", Usage: "log JSON, not text"}
}

func logLevelFlag() cli.Flag {
	return &cli.StringFlag{Name: "log-level", Usage: "log what is at least of `LEVEL`: debug, info, warn or error"}
}

// newLog makes the log, on standard error.
func newLog(c *cli.Context, cfg config.Config) (*slog.Logger, error) {
	name := cfg.Log.Level
	if c.IsSet("log-level") {
		name = c.String("log-level")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return nil, usageErrorf("%q is no level of the log: %v", name, err)
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Bool("log-json") || cfg.Log.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(c.App.ErrWriter, options)), nil
	}
	return slog.New(slog.NewTextHandler(c.App.ErrWriter, options)), nil
}
