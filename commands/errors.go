package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/userdb"
)

// usageError is the mistake of whoever typed the command.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usageErrorf(format string, args ...any) error {
	return usageError{fmt.Sprintf(format, args...)}
}

// usageErrorHandler gets what cli finds wrong, which it would print to standard
// output.
func usageErrorHandler(c *cli.Context, err error, _ bool) error {
	return usageErrorf("%v: see %s --help; what follows \"--\" is no flag", err, commandPath(c))
}

// errNotFound is matched by errors that say that a user or message is missing.
var errNotFound = errors.New("not found")

// ExitCode is what the process returns for an error of Run.
func ExitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.Is(err, keyring.ErrName):
		return 2
	case errors.Is(err, hybrid.ErrNotAuthentic):
		return 3
	case errors.Is(err, keyring.ErrNotFound), errors.Is(err, errNotFound), errors.Is(err, userdb.ErrNoUser):
		return 4
	}
	return 1
}

// errInterrupted reports a signal.
var errInterrupted = errors.New("interrupted")

// interrupted reports a signal in place of whatever it broke off.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}
