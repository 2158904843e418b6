// Package regwire is what a registration server and its clients say to each
// other over HTTP. The server is userdb/regd, the client internal/regclient.
//
// # Requests
//
// The port is 60085. A connection carries one request, over HTTP/1.1 (RFC 9112),
// in clear or under TLS, which begins at once.
//
//	GET /server.pub   the server's public key, PEM
//	GET /challenge    a challenge: characters of base64url, and a CRLF
//	GET /keys/NAME    the public keys of the user NAME
//	POST /register    registers, changes or removes a user
//
// # Public keys
//
// The answer to /keys/NAME is 200 with the user's PEM blocks as they stand in
// users.txt, or 404 with no content. The user is the one who receives mail under
// NAME: in other letters of the same name, with a sub-address, or with a domain of
// the server's where users.txt has none. Both come with
//
//	Xm-Time: 2006-01-02T15:04:05Z
//	Xm-Signature: base64(signature of the server's key)
//
// The signature is of the statement ("xm keys 1", server, NAME, Xm-Time, "found"
// or "none", content). NAME is what was asked for, without percent-encoding. A
// client takes no answer whose time is over an hour from its own.
//
// # Registrations
//
// The content of a POST is an Unsigned payload of package hybrid (a "reg"
// payload) under the server's key. Its message is a Request, in JSON. The
// content of the answer is one line, "+OK ..." or "-ERR ...", with a CRLF, as the
// original's protocol has it, and
//
//	Xm-Mac: base64(HMAC-SHA-256(secret, statement))
//
// of the statement ("xm reply 1", server, challenge, line without its CRLF) under
// the secret in the Request. Where the server could not open the payload there
// is no secret, and no Xm-Mac. Whether the line is good news is not told by the
// status, which nothing protects. The line names nobody: who listens reads it.
//
// A Request is signed, over the statement ("xm registration 1", server, action,
// name, record, SHA-256 of keys in hex, invite, challenge), by
//
//   - the private half of the first key in keys, where there are keys: that is
//     the proof that its sender owns the key;
//   - the key on record, unless the action is "register".
//
// A challenge is good for one Request, at the server that gave it, for some
// minutes. So nothing can be sent a second time, by anybody.
//
// # Statements and signatures
//
// A statement is a list of texts, each written as its length in octets, in
// decimal, ":", the text and ",": so that two lists never look alike. server is
// the fingerprint of the server's key: SHA-256 of its SubjectPublicKeyInfo, in
// hex, in groups of four with blanks between. A signature is RSA-PSS with
// SHA-512, MGF1-SHA-512 and a salt of 64 octets (RFC 8017, section 8.1). As v1
// payloads are signed with SHA-256, and a statement begins with what it is for,
// no signature can pass for another.
//
// # What an attacker can learn and do
//
// Whoever listens, without TLS: who asks for whose keys, and where people
// register from; no password, record or name that is registered. Whoever stands
// in between can keep answers away, and replay an answer about a key for an
// hour. What he sends himself is not believed: the server's key, which the
// client has pinned, vouches for the answers. The first time, a person must
// compare its fingerprint.
//
// Whoever asks, about who exists: the answer for one name at a time, and it is the
// same, after the same time, for a name that does not exist and one that has no
// key. Nothing lists names. Registration tells that a name is not free, and
// nothing else; changes and removals answer the same for a name that does not
// exist and for a wrong signature.
//
// The server never sees a password. It can serve wrong keys for its users, to
// all or to some: that is what comparing fingerprints between people is for.
package regwire

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"xm/hybrid"
)

// Port is where registration servers listen.
const Port = "60085"

// Paths and header fields.
const (
	ServerKeyPath = "/server.pub"
	ChallengePath = "/challenge"
	KeysPath      = "/keys/"
	RegisterPath  = "/register"

	TimeField      = "Xm-Time"
	SignatureField = "Xm-Signature"
	MACField       = "Xm-Mac"
)

// MaxPayload is the size of a POST's content, in octets.
const MaxPayload = 64 << 10

// Actions of a Request.
const (
	Register   = "register"   // a new name: record and keys are wanted
	Change     = "change"     // of a user's record, or keys, or both: what is empty stays
	Unregister = "unregister" // record and keys are empty
)

// secretSize is that of a reply secret, in octets.
const secretSize = 32

// Request is the message of a POST. Octets are base64 in JSON.
type Request struct {
	Action    string `json:"action"`
	Name      string `json:"name"`
	Record    string `json:"record,omitempty"` // "salt,hash": fields of a line of users.txt, SCRAM
	Keys      string `json:"keys,omitempty"`   // PEM blocks, the RSA key first
	Invite    string `json:"invite,omitempty"` // a code that lets somebody register
	Challenge string `json:"challenge"`
	Secret    []byte `json:"secret"`              // 32 random octets, for the reply
	Proof     []byte `json:"proof,omitempty"`     // signed with the first of Keys
	Signature []byte `json:"signature,omitempty"` // signed with the key on record
}

// NewSecret makes a reply secret.
func NewSecret() []byte {
	secret := make([]byte, secretSize)
	rand.Read(secret)
	return secret
}

// ErrSignature is matched by the error for a signature that is not good.
var ErrSignature = errors.New("the signature is not good")

// Seal makes the payload of a Request.
func (r Request) Seal(server *rsa.PublicKey) ([]byte, error) {
	message, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return hybrid.SealUnsigned(message, server)
}

// Open reads a payload. The error matches hybrid.ErrNotAuthentic for what is not
// one for key.
func Open(payload []byte, key *rsa.PrivateKey) (Request, error) {
	message, err := hybrid.OpenUnsigned(payload, key)
	if err != nil {
		return Request{}, err
	}
	return Parse(message)
}

// Parse reads the message of a payload. It is strict: a field that this program
// does not know may be one that the sender relies on.
func Parse(message []byte) (Request, error) {
	var r Request
	d := json.NewDecoder(bytes.NewReader(message))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Request{}, fmt.Errorf("the request is not JSON as it should be: %.200v", err) // it may quote the peer
	}
	if _, err := d.Token(); err != io.EOF {
		return Request{}, errors.New("there is more than one request")
	}
	if len(r.Secret) != secretSize {
		return Request{}, fmt.Errorf("the reply secret has %d octets, not %d", len(r.Secret), secretSize)
	}
	switch r.Action {
	case Register, Change, Unregister:
		return r, nil
	}
	return Request{}, fmt.Errorf("the action is none of %s, %s and %s", Register, Change, Unregister)
}

func (r Request) statement(server *rsa.PublicKey) []byte {
	keys := sha256.Sum256([]byte(r.Keys))
	return statement("xm registration 1", hybrid.Fingerprint(server), r.Action, r.Name, r.Record,
		hex.EncodeToString(keys[:]), r.Invite, r.Challenge)
}

// Prove signs with the new key.
func (r *Request) Prove(server *rsa.PublicKey, key *rsa.PrivateKey) (err error) {
	r.Proof, err = sign(key, r.statement(server))
	return err
}

// Sign signs with the key on record.
func (r *Request) Sign(server *rsa.PublicKey, key *rsa.PrivateKey) (err error) {
	r.Signature, err = sign(key, r.statement(server))
	return err
}

// VerifyProof checks what Prove made, and VerifySignature what Sign made. The
// error matches ErrSignature.
func (r Request) VerifyProof(server, key *rsa.PublicKey) error {
	return verify(key, r.statement(server), r.Proof)
}

// VerifySignature checks what Sign made.
func (r Request) VerifySignature(server, key *rsa.PublicKey) error {
	return verify(key, r.statement(server), r.Signature)
}

// ReplyMAC authenticates the answer to a Request; line has no line end.
func (r Request) ReplyMAC(server *rsa.PublicKey, line string) []byte {
	m := hmac.New(sha256.New, r.Secret)
	m.Write(statement("xm reply 1", hybrid.Fingerprint(server), r.Challenge, line))
	return m.Sum(nil)
}

// KeyAnswer is the answer to a question for somebody's keys.
type KeyAnswer struct {
	Name string // as it was asked for
	Time string // as FormatTime has it
	PEM  []byte // nil if there are none
}

// FormatTime gives the form of Xm-Time.
func FormatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Sign signs the answer with the server's key.
func (a KeyAnswer) Sign(key *rsa.PrivateKey) ([]byte, error) {
	return sign(key, a.statement(&key.PublicKey))
}

// Verify checks the signature. The error matches ErrSignature.
func (a KeyAnswer) Verify(server *rsa.PublicKey, signature []byte) error {
	return verify(server, a.statement(server), signature)
}

func (a KeyAnswer) statement(server *rsa.PublicKey) []byte {
	found := "none"
	if a.PEM != nil {
		found = "found"
	}
	return statement("xm keys 1", hybrid.Fingerprint(server), a.Name, a.Time, found, string(a.PEM))
}

// statement writes a list of texts.
func statement(texts ...string) []byte {
	var out []byte
	for _, t := range texts {
		out = append(strconv.AppendInt(out, int64(len(t)), 10), ':')
		out = append(append(out, t...), ',')
	}
	return out
}

var pss = &rsa.PSSOptions{SaltLength: sha512.Size, Hash: crypto.SHA512}

func sign(key *rsa.PrivateKey, statement []byte) ([]byte, error) {
	sum := sha512.Sum512(statement)
	return rsa.SignPSS(rand.Reader, key, crypto.SHA512, sum[:], pss)
}

func verify(key *rsa.PublicKey, statement, signature []byte) error {
	sum := sha512.Sum512(statement)
	if err := rsa.VerifyPSS(key, crypto.SHA512, sum[:], signature, pss); err != nil {
		return ErrSignature
	}
	return nil
}
