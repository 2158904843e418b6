package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	rfc8555 "golang.org/x/crypto/acme"
)

// problemType begins the types of problems (RFC 8555, section 6.7).
const problemType = "urn:ietf:params:acme:error:"

const (
	mendName  = "set hostname and tls.acme_names to names that DNS has for everybody"
	mendProxy = "something else answers on port 80 of that name: let it pass /.well-known/acme-challenge/ on to tls.acme_listen"
)

// mends is what to do about problems.
var mends = map[string]string{
	"caa":                     "let the CAA record of the domain allow this authority",
	"connection":              "let port 80 of that name reach tls.acme_listen: a firewall, a router or a wrong address in DNS keeps it from that",
	"dns":                     "give that name an A or AAAA record with the address of this server: see xm doctor --dns",
	"externalAccountRequired": "choose another authority: this one wants an account that was made elsewhere",
	"incorrectResponse":       mendProxy,
	"rateLimited":             "wait: the authority was asked too often",
	"rejectedIdentifier":      mendName,
	"serverInternal":          "wait: the authority has trouble of its own",
	"unauthorized":            mendProxy,
	"unsupportedIdentifier":   mendName,
	"userActionRequired":      "do what the authority asks for",
}

// directoryError is one of the first request, before the authority is known to be
// one.
type directoryError struct{ error }

// Unwrap is for errors.As.
func (e directoryError) Unwrap() error { return e.error }

// explain notes why an attempt failed, and what can be done about it.
func (f *Failure) explain(err error) {
	f.Error, f.Mend = err.Error(), mend(err)
	if p := problemOf(err); p != nil {
		if next := f.Time.Add(retryAfter(p.Header)); next.After(f.Next) {
			f.Next = next
		}
	}
}

func mend(err error) string {
	var unknown x509.UnknownAuthorityError
	var directory directoryError
	var request *url.Error
	p := problemOf(err)
	switch {
	case errors.Is(err, errDue):
		return "set the clock of this machine right: see xm doctor"
	case errors.As(err, &unknown):
		return "set tls.acme_ca to the file of the root that the authority's own certificate is from"
	case errors.As(err, &request), errors.Is(err, context.DeadlineExceeded):
		return "see that the authority can be reached from here, and whether tls.acme_directory is its URL"
	case p != nil && mends[strings.TrimPrefix(p.ProblemType, problemType)] != "":
		return strings.TrimSpace(mends[strings.TrimPrefix(p.ProblemType, problemType)] + " " + p.Instance)
	case errors.As(err, &directory):
		return "set tls.acme_directory to the URL of an authority's directory"
	}
	return ""
}

// problemOf is what the authority said, if that is what went wrong.
func problemOf(err error) *rfc8555.Error {
	var authorization *rfc8555.AuthorizationError
	var order *rfc8555.OrderError
	var problem *rfc8555.Error
	switch {
	case errors.As(err, &authorization):
		errors.As(errors.Join(authorization.Errors...), &problem)
	case errors.As(err, &order):
		problem = order.Problem
	default:
		errors.As(err, &problem)
	}
	return problem
}

// maxRetryAfter bounds the wait that an authority can ask for.
const maxRetryAfter = 7 * 24 * time.Hour

// retryAfter is how long the authority wants to be left alone; 0 if it does not
// say. RFC 8555, section 6.6; RFC 9110, section 10.2.3.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(time.Until(at), maxRetryAfter)
	}
	return 0
}
