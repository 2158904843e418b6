package regd

import (
	"net/http"
	"strconv"
	"strings"

	"xm/internal/line"
	"xm/internal/regwire"
)

// Observer counts what a Server does. See line.Observer for what is asked of its
// methods.
type Observer interface {
	line.Observer
	// Request is called for each request that was answered. kind is one of the
	// constants below; result is the status of HTTP in digits, or "+OK" or "-ERR" of
	// the original's protocol.
	Request(kind, result string)
}

// The kinds of requests.
const (
	KindOriginal  = "original"   // a registration in the original's protocol
	KindRegister  = "register"   // what is registered, changed or removed over HTTP
	KindKeys      = "keys"       // a user's keys
	KindServerKey = "server_key" // the server's own
	KindChallenge = "challenge"
	KindUnknown   = "unknown" // nothing that is served here
)

// observe counts an answer.
func (h *handler) observe(kind, result string) {
	if h.Observer != nil {
		h.Observer.Request(kind, result)
	}
}

// observeHTTP counts the answer to an HTTP request.
func (h *handler) observeHTTP(r *http.Request, a answer) {
	kind := KindUnknown
	switch path := r.URL.Path; {
	case path == regwire.RegisterPath:
		kind = KindRegister
	case path == regwire.ServerKeyPath:
		kind = KindServerKey
	case path == regwire.ChallengePath:
		kind = KindChallenge
	case strings.HasPrefix(path, regwire.KeysPath):
		kind = KindKeys
	}
	h.observe(kind, strconv.Itoa(a.status))
}
