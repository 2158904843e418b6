package userdb

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// Iterations of PBKDF2 in a SCRAM record: what a new one has, and what is
// accepted. A record is a cost that somebody else chooses.
const (
	DefaultIterations = 100_000
	minIterations     = 4096
	maxIterations     = 1_000_000
)

const (
	scramPrefix   = "SCRAM-SHA-256$"
	scramSaltSize = 16
	maxSalt       = 256       // characters of field 2
	maxKeys       = 16 * 1024 // octets of PEM
)

// Record is one user's line.
type Record struct {
	raw  string // the line that it was read from, if any
	Name Name
	// Salt is the second field. Hash says how it is used.
	Salt string
	// Hash is 64 hex digits, or "SCRAM-SHA-256$..." (see the package doc).
	Hash string
	// Keys is the user's public keys: one or more PEM blocks, of which the
	// first is the RSA key of package hybrid. Empty if there are none.
	Keys []byte
}

// NewRecord makes a SCRAM record for a password, with the given number of
// PBKDF2 iterations.
func NewRecord(name Name, password string, iterations int) (Record, error) {
	salt := make([]byte, scramSaltSize)
	rand.Read(salt)
	return newRecord(name, password, salt, iterations)
}

func newRecord(name Name, password string, salt []byte, iterations int) (Record, error) {
	prepared, err := prepare(password)
	if err != nil {
		return Record{}, err
	}
	s, err := deriveSCRAM(prepared, salt, iterations)
	if err != nil {
		return Record{}, err
	}
	return Record{Name: name, Salt: base64.StdEncoding.EncodeToString(salt), Hash: s.String()}, nil
}

// ParseRecord reads "name,salt,hash" or "name,salt,hash,base64(PEM)".
func ParseRecord(line string) (Record, error) {
	fields := strings.Split(line, ",")
	if len(fields) != 3 && len(fields) != 4 {
		return Record{}, fmt.Errorf("%d fields where a user has 3 or 4 (name,salt,hash[,public key])", len(fields))
	}
	name, err := ParseName(fields[0])
	if err != nil {
		return Record{}, err
	}
	r := Record{raw: line, Name: name, Salt: fields[1], Hash: fields[2]}
	if err := r.checkCredentials(); err != nil {
		return Record{}, err
	}
	if len(fields) == 4 {
		if r.Keys, err = parseKeys(fields[3]); err != nil {
			return Record{}, err
		}
	}
	return r, nil
}

func (r Record) checkCredentials() error {
	if r.Salt == "" || len(r.Salt) > maxSalt || strings.ContainsFunc(r.Salt, notPrintable) {
		return fmt.Errorf("the salt is not 1 to %d printable characters", maxSalt)
	}
	if !strings.HasPrefix(r.Hash, scramPrefix) {
		if raw, err := hex.DecodeString(r.Hash); err != nil || len(raw) != sha256.Size {
			return errors.New("the hash is neither 64 hex digits nor SCRAM-SHA-256")
		}
		return nil
	}
	if _, err := parseSCRAM(r.Hash); err != nil {
		return err
	}
	if _, rest, _ := strings.Cut(r.Hash, ":"); !strings.HasPrefix(rest, r.Salt+"$") {
		return errors.New("the salt does not repeat the one in the SCRAM record")
	}
	return nil
}

func notPrintable(r rune) bool { return r <= ' ' || r == 0x7f }

// parseKeys decodes the fourth field. What the blocks hold is not looked at: a
// key that this program can't use must not cost its owner their mail.
func parseKeys(field string) ([]byte, error) {
	pem, err := base64.StdEncoding.DecodeString(field)
	if err != nil {
		return nil, errors.New("the public key is not base64")
	}
	if len(pem) > maxKeys {
		return nil, fmt.Errorf("the public keys have %d octets, over %d", len(pem), maxKeys)
	}
	return pem, nil
}

// String is the record's line in users.txt, without a line end.
func (r Record) String() string {
	line := r.Name.String() + "," + r.Salt + "," + r.Hash
	if len(r.Keys) > 0 {
		line += "," + base64.StdEncoding.EncodeToString(r.Keys)
	}
	return line
}

const scramKind = "SCRAM-SHA-256"

// Kind names the way the password is kept.
func (r Record) Kind() string {
	if strings.HasPrefix(r.Hash, scramPrefix) {
		return scramKind
	}
	return "SHA-256"
}

// verify reports whether the password is the record's, at the record's cost.
func (r Record) verify(password string) bool {
	if !strings.HasPrefix(r.Hash, scramPrefix) {
		sum := sha256.Sum256([]byte(password + r.Salt))
		want, err := hex.DecodeString(r.Hash)
		return err == nil && subtle.ConstantTimeCompare(sum[:], want) == 1
	}
	want, err := parseSCRAM(r.Hash)
	if err != nil {
		return false
	}
	prepared, err := prepare(password)
	if err != nil {
		return false
	}
	got, err := deriveSCRAM(prepared, want.salt, want.iterations)
	return err == nil && subtle.ConstantTimeCompare(got.storedKey, want.storedKey) == 1
}

// prepare is SASLprep (RFC 4013), which RFC 5802, section 2.2, asks for.
func prepare(password string) (string, error) {
	if password == "" {
		return "", errors.New("the password is empty")
	}
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil {
		return "", errors.New("the password holds characters that SASLprep (RFC 4013) does not allow")
	}
	if prepared == "" {
		return "", errors.New("nothing is left of the password after SASLprep (RFC 4013)")
	}
	return prepared, nil
}

// scram is what a server keeps of a password: RFC 5802, section 3, in the
// notation of RFC 5803, section 2.
type scram struct {
	iterations                 int
	salt, storedKey, serverKey []byte
}

func deriveSCRAM(prepared string, salt []byte, iterations int) (scram, error) {
	if iterations < minIterations || iterations > maxIterations {
		return scram{}, fmt.Errorf("%d iterations: %d to %d are accepted", iterations, minIterations, maxIterations)
	}
	salted, err := pbkdf2.Key(sha256.New, prepared, salt, iterations, sha256.Size)
	if err != nil {
		return scram{}, err
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	return scram{iterations, salt, stored[:], mac(salted, "Server Key")}, nil
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func (s scram) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d:%s$%s:%s", scramPrefix, s.iterations, b64(s.salt), b64(s.storedKey), b64(s.serverKey))
}

func parseSCRAM(hash string) (scram, error) {
	var s scram
	params, keys, ok := strings.Cut(strings.TrimPrefix(hash, scramPrefix), "$")
	iterations, salt, ok2 := strings.Cut(params, ":")
	stored, server, ok3 := strings.Cut(keys, ":")
	if !ok || !ok2 || !ok3 {
		return s, errors.New("the SCRAM record is not ITERATIONS:SALT$STORED_KEY:SERVER_KEY")
	}
	var err error
	s.iterations, err = strconv.Atoi(iterations)
	if err != nil || s.iterations < minIterations || s.iterations > maxIterations {
		return s, fmt.Errorf("the SCRAM record has %.20q iterations: %d to %d are accepted", iterations, minIterations, maxIterations)
	}
	for _, f := range []struct {
		to   *[]byte
		text string
		size int // 0 for any but none
	}{{&s.salt, salt, 0}, {&s.storedKey, stored, sha256.Size}, {&s.serverKey, server, sha256.Size}} {
		*f.to, err = base64.StdEncoding.Strict().DecodeString(f.text)
		if err != nil || len(*f.to) == 0 || f.size != 0 && len(*f.to) != f.size {
			return s, errors.New("the SCRAM record has a damaged salt or key")
		}
	}
	// The decoders pass over line ends, which would tear users.txt apart, and signs.
	if strings.ContainsAny(hash, "\r\n") || strconv.Itoa(s.iterations) != iterations {
		return s, errors.New("the SCRAM record is not in its one form")
	}
	return s, nil
}
