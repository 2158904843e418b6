package userdb

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Entry is a user in a file of this or another program: either a record, or a
// name and a password that a record is yet to be made of.
type Entry struct {
	Record   Record
	Password string // "" if the record is complete
	Disabled bool   // nobody is to log in
}

// ParseEntry reads a line of
//
//   - users.txt;
//   - the original's userinfo: "name password", in clear;
//   - a passwd-file of Dovecot's: "name:{SCHEME}password:uid:gid::home::extra", of
//     which what follows the password may be missing, and is looked at for nologin
//     among the extra fields. The schemes are PLAIN, CLEAR, CLEARTEXT,
//     SCRAM-SHA-256, and SSHA256 with a salt of printable ASCII, which is what the
//     original's records are.
//
// Which one it is, the character that ends the name tells: no name holds a comma,
// a colon or a space. ok is false for an empty line and a remark.
func ParseEntry(line string) (e Entry, ok bool, err error) {
	line = trimCR(line)
	if isRemark(line) {
		return Entry{}, false, nil
	}
	switch i := strings.IndexAny(line, ",: \t"); {
	case i < 0:
		err = errors.New("there is no more than a name")
	case line[i] == ',':
		e.Record, err = ParseRecord(line)
	case line[i] == ':':
		e, err = parsePasswd(line[:i], line[i+1:])
	default:
		e, err = parseUserinfo(line)
	}
	return e, true, err
}

func parseUserinfo(line string) (Entry, error) {
	words := strings.Fields(line)
	if len(words) != 2 {
		return Entry{}, errors.New("a line of userinfo has a name and a password")
	}
	name, err := ParseName(words[0])
	return Entry{Record: Record{Name: name}, Password: words[1]}, err
}

func parsePasswd(user, rest string) (Entry, error) {
	name, err := ParseName(user)
	if err != nil {
		return Entry{}, err
	}
	field, others, _ := strings.Cut(rest, ":")
	scheme, value, found := strings.Cut(strings.TrimPrefix(field, "{"), "}")
	if !found || field[0] != '{' {
		return Entry{}, errors.New("the password has no {SCHEME}")
	}
	e := Entry{Record: Record{Name: name}, Disabled: isNologin(others)}
	switch scheme = strings.ToUpper(scheme); scheme {
	case "PLAIN", "CLEAR", "CLEARTEXT":
		if e.Password = value; value == "" {
			return Entry{}, errors.New("the password is empty")
		}
		return e, nil
	case "SCRAM-SHA-256":
		err = e.Record.fromSCRAM(value)
	case "SSHA256", "SSHA256.B64", "SSHA256.BASE64", "SSHA256.HEX":
		err = e.Record.fromSSHA(value, strings.HasSuffix(scheme, ".HEX"))
	default:
		err = fmt.Errorf("a password kept as %s can't be checked here: it has to be set anew", scheme)
	}
	return e, err
}

// isNologin looks at what follows the password: uid, gid, gecos, home, shell, and
// the extra fields, which stand apart by blanks. nologin counts whatever its value is.
func isNologin(others string) bool {
	fields := strings.SplitN(others, ":", 6)
	return slices.ContainsFunc(strings.Fields(fields[len(fields)-1]), func(extra string) bool {
		name, _, _ := strings.Cut(extra, "=")
		return len(fields) == 6 && name == "nologin"
	})
}

// fromSCRAM reads ITERATIONS,SALT,STORED_KEY,SERVER_KEY.
func (r *Record) fromSCRAM(value string) error {
	f := strings.Split(value, ",")
	if len(f) != 4 {
		return errors.New("SCRAM-SHA-256 is not ITERATIONS,SALT,STORED_KEY,SERVER_KEY")
	}
	r.Salt, r.Hash = f[1], scramPrefix+f[0]+":"+f[1]+"$"+f[2]+":"+f[3]
	return r.checkCredentials()
}

// fromSSHA reads SHA-256(password + salt) + salt.
func (r *Record) fromSSHA(value string, isHex bool) error {
	decode := base64.StdEncoding.DecodeString
	if isHex {
		decode = hex.DecodeString
	}
	raw, err := decode(value)
	if err != nil || len(raw) <= sha256.Size {
		return errors.New("SSHA256 is not a hash and a salt")
	}
	salt := string(raw[sha256.Size:])
	if strings.ContainsFunc(salt, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == ',' }) {
		return errors.New("the salt is not printable ASCII without commas, which users.txt can hold: the password has to be set anew")
	}
	r.Salt, r.Hash = salt, hex.EncodeToString(raw[:sha256.Size])
	return r.checkCredentials()
}

// Passwd is the record as a line of a passwd-file of Dovecot's, without a line
// end.
func (r Record) Passwd() (string, error) {
	if r.Kind() == scramKind {
		s, err := parseSCRAM(r.Hash)
		if err != nil {
			return "", err
		}
		b64 := base64.StdEncoding.EncodeToString
		return fmt.Sprintf("%s:{SCRAM-SHA-256}%d,%s,%s,%s", r.Name, s.iterations, b64(s.salt), b64(s.storedKey), b64(s.serverKey)), nil
	}
	sum, err := hex.DecodeString(r.Hash)
	return fmt.Sprintf("%s:{SSHA256}%s", r.Name, base64.StdEncoding.EncodeToString(append(sum, r.Salt...))), err
}
