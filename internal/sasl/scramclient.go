package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// Iterations that a client performs: RFC 7677, section 4, wants no fewer than
// 4096, and more is a cost that somebody else chooses.
const (
	minIterations = 4096
	maxIterations = 1_000_000
)

// scramClient is the client's side of SCRAM. RFC 5802, sections 3 and 5.
type scramClient struct {
	password  string // prepared
	header    string // GS2's
	binding   Binding
	bare      string // the first message without the header
	nonce     string
	signature []byte // what the server must send
}

func newScramClient(user, password string, plus bool, bindings []Binding) (*scramClient, error) {
	name, ok := prepareName(user)
	if !ok {
		return nil, errors.New("the user name can't be prepared (SASLprep, RFC 4013)")
	}
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil || prepared == "" {
		return nil, errors.New("the password holds characters that SASLprep (RFC 4013) does not allow")
	}
	x := &scramClient{password: prepared, header: "n,,"}
	switch {
	case plus:
		x.binding = bindings[0]
		x.header = "p=" + x.binding.Type + ",,"
	case len(bindings) > 0:
		x.header = "y,," // RFC 5802, section 6: a server that offered PLUS now knows
	}
	x.setNonce(name, newNonce())
	return x, nil
}

func (x *scramClient) setNonce(name, nonce string) {
	x.nonce = nonce
	x.bare = "n=" + escapeName(name) + ",r=" + nonce
}

func (x *scramClient) first() ([]byte, clientStep) {
	return []byte(x.header + x.bare), x.final
}

// final answers "r=nonces,s=salt,i=iterations" with "c=binding,r=nonces,p=proof".
func (x *scramClient) final(challenge []byte) ([]byte, clientStep, error) {
	nonces, salt, iterations, err := x.parseFirst(string(challenge))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrServer, err)
	}
	salted, err := pbkdf2.Key(sha256.New, x.password, salt, iterations, proofSize)
	if err != nil {
		return nil, nil, err
	}
	message := "c=" + bindingInput(x.header, x.binding.Data) + ",r=" + nonces
	text := x.bare + "," + string(challenge) + "," + message
	clientKey := signature(salted, "Client Key")
	storedKey := sha256.Sum256(clientKey)
	proof := make([]byte, proofSize)
	subtle.XORBytes(proof, clientKey, signature(storedKey[:], text))
	x.signature = signature(signature(salted, "Server Key"), text)
	return []byte(message + ",p=" + base64.StdEncoding.EncodeToString(proof)), x.verify, nil
}

func (x *scramClient) parseFirst(challenge string) (nonces string, salt []byte, iterations int, err error) {
	values, ok := attributes(challenge, "rsi")
	if !ok {
		return "", nil, 0, errors.New("its first message is malformed")
	}
	nonces = values[0]
	if !isNonce(nonces) || !strings.HasPrefix(nonces, x.nonce) || len(nonces) == len(x.nonce) {
		return "", nil, 0, errors.New("its nonce does not extend ours")
	}
	if salt, err = decode(values[1]); err != nil {
		return "", nil, 0, errors.New("its salt is not base64")
	}
	iterations, err = strconv.Atoi(values[2])
	if err != nil || strconv.Itoa(iterations) != values[2] || iterations < minIterations || iterations > maxIterations {
		return "", nil, 0, fmt.Errorf("it wants %q iterations: %d to %d are accepted", values[2], minIterations, maxIterations)
	}
	return nonces, salt, iterations, nil
}

// verify takes "v=signature": a server without it does not know the password,
// and may be anybody.
func (x *scramClient) verify(challenge []byte) ([]byte, clientStep, error) {
	if values, ok := attributes(string(challenge), "e"); ok {
		return nil, nil, fmt.Errorf("%w: the server says %q", ErrFailed, values[0])
	}
	values, ok := attributes(string(challenge), "v")
	if !ok {
		return nil, nil, fmt.Errorf("%w: its last message is malformed", ErrServer)
	}
	got, err := decode(values[0])
	if err != nil || !hmac.Equal(got, x.signature) {
		return nil, nil, fmt.Errorf("%w: it does not know the password", ErrServer)
	}
	return []byte{}, nil, nil
}
