package sasl

import (
	"errors"
	"time"
)

// Outcome is what came of an exchange, for those who count.
type Outcome string

// The outcomes.
const (
	Accepted Outcome = "accepted"
	Failed   Outcome = "failed"  // ErrFailed
	Limited  Outcome = "limited" // ErrTooMany
	Aborted  Outcome = "aborted" // the client or its connection did not go through with it
	Trouble  Outcome = "trouble" // on our side
)

// OutcomeOf tells what an error of an exchange means; nil is a success.
func OutcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Accepted
	case errors.Is(err, ErrFailed):
		return Failed
	case errors.Is(err, ErrTooMany):
		return Limited
	case errors.Is(err, ErrCancelled), errors.Is(err, ErrEncoding), errors.Is(err, ErrSyntax), errors.As(err, new(AskError)):
		return Aborted
	}
	return Trouble
}

// AskError is an error of asking the client, in the middle of an exchange: its
// connection's.
type AskError struct{ Err error }

func (e AskError) Error() string { return e.Err.Error() }

// Unwrap is for package errors.
func (e AskError) Unwrap() error { return e.Err }

// Took is how long our part of the exchange has taken so far; what the client
// thinks is not in it.
func (s *Server) Took() time.Duration { return s.took }
