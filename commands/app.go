// Package commands is the command line: one file for each subcommand. It alone
// knows flags, paths and the config; everything it does is done by the packages
// below it.
//
//	main -> commands
//	          |-> smtpd         SMTP            \  internal/line: accept loop, TLS, bounded
//	          |-> pop3d         POP3             > lines, dot-stuffing; internal/sasl: who
//	          |-> userdb/regd   registration    /  it is
//	          |-> userdb        users.txt       -> internal/safefile: files that are
//	          |-> internal/maildir   the mail   -> complete or not there, on internal/disk
//	          |-> internal/regclient    registers, asks for keys
//	          |-> internal/mailclient, internal/message   the mail client's protocols and MIME
//	          |-> internal/keyring    -> hybrid
//	          |-> internal/config    xm.toml
//	          |-> internal/metrics   figures for Prometheus, of the servers' observers
//	          |-> internal/acme      the certificate, from an authority
//	          |-> internal/trace     what became of a message, from the log
//	          '-> hybrid        payloads and keys; pure
//
// Data goes to standard output and everything else to standard error. An action
// returns an error, and only main prints it and exits, with ExitCode.
package commands

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/keyring"
)

// keysVariable stands for --keys.
const keysVariable = "XM_KEYS"

// version is that of the next release, as CHANGELOG.md has it. scripts/build.sh
// sets it.
var version = "0.1.0"

// New returns the whole application. Nothing in it is shared with another.
func New() *cli.App {
	return &cli.App{
		Name:    "xm",
		Version: version,
		Usage:   "a small mail system with end-to-end encryption",
		Description: "The keys and payloads are hybrid.py's: key.priv, key.pub and NAME.pub in the keys\n" +
			"directory; enc, dec and reg in the current one.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not authentic (changed, forged,\n" +
			"for another key, or no payload), 4 not found (no such key, user or message).",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "read the settings from `FILE` (default: ./xm.toml, then xm/xm.toml in your config directory, then /etc/xm/xm.toml)", EnvVars: []string{"XM_CONFIG"}},
			&cli.StringFlag{Name: "data", Usage: "users.txt and the mail are in `DIR` (default: data_dir of the config, else data)"},
			&cli.StringFlag{Name: "keys", Usage: "the keys are in `DIR`", Value: ".", EnvVars: []string{keysVariable}},
		},
		Commands: []*cli.Command{
			keygen(), encrypt(), decrypt(), register(), passwd(), unregister(),
			key(), user(),
			initCommand(), showConfig(), mailbox(), backup(), restore(), doctorCommand(), fsck(),
			logCommand(), man(), completion(),
			smtpdCommand(), pop3dCommand(), regdCommand(), serve(),
			login(), logout(),
			send(), inbox(), read(), reply(), forward(), rm(), fetch(), watch(), client(), sendmail(),
		},
		Action:          noSuchCommand,
		OnUsageError:    usageErrorHandler,
		ExitErrHandler:  func(*cli.Context, error) {}, // main's part
		HideHelpCommand: true,                         // see Run
	}
}

// Run runs the application with the given arguments, the program's name first.
// Flags may stand anywhere before "--", and "xm help user add" is "xm user add
// --help".
func Run(ctx context.Context, app *cli.App, args []string) error {
	if filepath.Base(args[0]) == "sendmail" {
		args = append([]string{"xm", "sendmail"}, args[1:]...)
	}
	if len(args) > 1 && args[1] == "help" {
		args = append(append([]string{args[0]}, args[2:]...), "--help")
	}
	app.Setup()
	prepare(app.Commands)
	return app.RunContext(ctx, permute(app, args))
}

// prepare makes all subcommands report wrong usage in the same way.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = usageErrorHandler
		c.HideHelpCommand = true
		if len(c.Subcommands) > 0 {
			c.Action = noSuchCommand
			prepare(c.Subcommands)
		}
	}
}

// noSuchCommand runs where a subcommand is missing or unknown.
func noSuchCommand(c *cli.Context) error {
	path := commandPath(c)
	if c.NArg() > 0 {
		return usageErrorf("%s has no command %q: see %s --help", path, c.Args().First(), path)
	}
	return usageErrorf("%s needs a command: see %s --help", path, path)
}

// commandPath is what was typed to get to a command, as "xm user add".
func commandPath(c *cli.Context) string {
	path := c.App.Name
	for _, ctx := range slices.Backward(c.Lineage()) {
		// Each command with subcommands is there twice: as itself, and as an
		// application of its own.
		if cmd := ctx.Command; cmd != nil && cmd.Name != "" && !strings.HasSuffix(" "+path, " "+cmd.Name) {
			path += " " + cmd.Name
		}
	}
	return path
}

// loadConfig reads the settings. Flags win.
func loadConfig(c *cli.Context) (config.Config, error) {
	return loadConfigFile(c, c.String("config"))
}

// loadConfigFile is loadConfig of a file; "" looks for one.
func loadConfigFile(c *cli.Context, file string) (config.Config, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return config.Config{}, err
	}
	if c.IsSet("data") {
		cfg.DataDir = c.String("data")
		cfg.SetBy("data_dir", "--data")
	}
	if c.IsSet("keys") && c.String("keys") != "" {
		cfg.Regd.Keys = c.String("keys")
		cfg.SetBy("regd.keys", keysSource(c))
	}
	return cfg, nil
}

// keysSource tells what named the keys directory.
func keysSource(c *cli.Context) string {
	if dir := os.Getenv(keysVariable); dir != "" && dir == c.String("keys") {
		return keysVariable
	}
	return "--keys"
}

// keysDir is where the keys are.
func keysDir(c *cli.Context) string {
	if dir := c.String("keys"); dir != "" {
		return dir
	}
	return "." // an empty XM_KEYS
}

// openKeys opens the keys directory.
func openKeys(c *cli.Context) (*keyring.Ring, error) {
	return keyring.Open(keysDir(c), askPassphrase(c))
}

// createKeys opens the keys directory, which is made where it is missing.
func createKeys(c *cli.Context) (*keyring.Ring, error) {
	return keyring.Create(keysDir(c), askPassphrase(c))
}

// say tells the person something on standard error.
func say(c *cli.Context, format string, args ...any) {
	fmt.Fprintf(c.App.ErrWriter, "xm: "+format+"\n", args...)
}

// warn is say for errors that come where nobody waits for them.
func warn(c *cli.Context) func(error) {
	return func(err error) { say(c, "%v", err) }
}

// wantArgs checks the number of arguments; most < 0 means any.
func wantArgs(c *cli.Context, least, most int) error {
	if n := c.NArg(); n < least || most >= 0 && n > most {
		return usageErrorf("usage: %s", strings.TrimSpace(commandPath(c)+" "+c.Command.ArgsUsage))
	}
	return nil
}
