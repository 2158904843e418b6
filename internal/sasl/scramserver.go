package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
)

// scramServer is the server's side of SCRAM. RFC 5802, sections 3 and 5.
type scramServer struct {
	*Server
	plus     bool
	authzid  string
	verifier Verifier
	messages string // those so far, as AuthMessage has them
	binding  string // what "c=" must be
	nonces   string // the client's and ours
}

// first takes the client-first-message, "n,,n=user,r=nonce", and returns
// "r=nonces,s=salt,i=iterations".
func (x *scramServer) first(_ context.Context, response []byte) ([]byte, serverStep, error) {
	header, bare, ok := cutHeader(string(response))
	if !ok {
		return nil, nil, ErrSyntax
	}
	values, ok := attributes(bare, "nr")
	if !ok || !isNonce(values[1]) {
		return nil, nil, ErrSyntax
	}
	name, ok := unescapeName(values[0])
	if !ok {
		return nil, nil, ErrSyntax
	}
	if err := x.claim(name); err != nil {
		return nil, nil, err
	}
	if err := x.agree(header); err != nil {
		return nil, nil, err
	}
	var err error
	if x.verifier, err = x.users.SCRAM(x.login); err != nil {
		return nil, nil, err
	}
	x.nonces = values[1] + x.Server.nonce()
	challenge := fmt.Sprintf("r=%s,s=%s,i=%d", x.nonces,
		base64.StdEncoding.EncodeToString(x.verifier.Salt), x.verifier.Iterations)
	x.messages = bare + "," + challenge
	return []byte(challenge), x.final, nil
}

// cutHeader splits the client-first-message after its second comma.
func cutHeader(message string) (header, bare string, ok bool) {
	flag, rest, ok := strings.Cut(message, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	return flag + "," + authzid + ",", bare, ok && ok2
}

// agree reads the GS2 header, "flag,[a=authzid],", and checks that both sides
// see the same channel. RFC 5802, sections 6 and 7.
func (x *scramServer) agree(header string) error {
	fields := strings.Split(header, ",")
	if fields[1] != "" {
		escaped, ok := strings.CutPrefix(fields[1], "a=")
		authzid, ok2 := unescapeName(escaped)
		if !ok || !ok2 || !isText(authzid) {
			return ErrSyntax
		}
		x.authzid = authzid
	}
	data, err := x.bindingData(fields[0])
	if err != nil {
		return err
	}
	x.binding = bindingInput(header, data)
	return nil
}

func (x *scramServer) bindingData(flag string) ([]byte, error) {
	name, bound := strings.CutPrefix(flag, "p=")
	switch {
	case bound && x.plus:
		for _, b := range x.channel.Bindings {
			if b.Type == name {
				return b.Data, nil
			}
		}
		return nil, ErrFailed
	case bound, x.plus && (flag == "n" || flag == "y"):
		return nil, ErrFailed
	case flag == "n":
		return nil, nil
	case flag == "y":
		// The client could bind and believes that we can't. If we can, somebody
		// between us has changed what we offered.
		if len(x.channel.Bindings) > 0 {
			return nil, ErrFailed
		}
		return nil, nil
	}
	return nil, ErrSyntax
}

// final takes the client-final-message, "c=binding,r=nonces,p=proof", and
// returns "v=signature". Each client, known or not, costs the same.
func (x *scramServer) final(_ context.Context, response []byte) ([]byte, serverStep, error) {
	message := string(response)
	values, ok := attributes(message, "cr")
	end := strings.LastIndex(message, ",p=")
	if !ok || end < 0 {
		return nil, nil, ErrSyntax
	}
	proof, err := decode(message[end+len(",p="):]) // refuses a comma: it is the last
	if err != nil || len(proof) != proofSize {
		return nil, nil, ErrSyntax
	}
	if _, err := decode(values[0]); err != nil {
		return nil, nil, ErrSyntax
	}
	text := x.messages + "," + message[:end]
	proved := x.proves(proof, text)
	answer := signature(x.verifier.ServerKey, text)
	if !same(values[0], x.binding) || !same(values[1], x.nonces) || !proved || x.verifier.User == "" {
		return nil, nil, ErrFailed
	}
	if err := x.authorize(x.verifier.User, x.authzid); err != nil {
		return nil, nil, err
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(answer)), x.end, nil
}

// proves reports whether the proof is one that only the ClientKey can make:
// RFC 5802, section 3.
func (x *scramServer) proves(proof []byte, text string) bool {
	key := make([]byte, proofSize)
	subtle.XORBytes(key, proof, signature(x.verifier.StoredKey, text))
	stored := sha256.Sum256(key)
	return hmac.Equal(stored[:], x.verifier.StoredKey)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// end takes the empty response to the server's proof, which these protocols have
// no other place for. RFC 4422, section 5; RFC 4954, section 4.
func (x *scramServer) end(_ context.Context, response []byte) ([]byte, serverStep, error) {
	if len(response) != 0 {
		return nil, nil, ErrSyntax
	}
	return nil, nil, nil
}
