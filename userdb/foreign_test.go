package userdb

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

func TestParseEntry(t *testing.T) {
	sum := sha256.Sum256([]byte("secretsalt"))
	salted := append(sum[:], "salt"...)
	for line, want := range map[string]string{ // name, password, salt
		"bill@localhost.com 123456\r":                                 "bill@localhost.com 123456 ",
		"bill\t123456":                                                "bill 123456 ",
		"alice:{PLAIN}a b,c:1000:1000::/home":                         "alice a b,c ",
		"alice:{cleartext}secret":                                     "alice secret ",
		"alice:{SSHA256}" + base64.StdEncoding.EncodeToString(salted): "alice  salt",
		"alice:{SSHA256.hex}" + hex.EncodeToString(salted) + "::::::": "alice  salt",
		"bob,salt," + hex.EncodeToString(sum[:]):                      "bob  salt",
	} {
		e, ok, err := ParseEntry(line)
		if got := e.Record.Name.String() + " " + e.Password + " " + e.Record.Salt; !ok || err != nil || got != want {
			t.Errorf("%q: %q, %v, %v; want %q", line, got, ok, err, want)
		}
		if e.Password == "" && !e.Record.verify("secret") {
			t.Errorf("%q does not take the password", line)
		}
	}
	for _, line := range []string{"", "\r", "#bill@localhost.com", "# bill 123456"} {
		if _, ok, err := ParseEntry(line); ok || err != nil {
			t.Errorf("%q: %v, %v", line, ok, err)
		}
	}
	for line, want := range map[string]string{
		"bill":                      "no more than a name",
		"bill 123 456":              "a name and a password",
		"../bill 123456":            "can't be a user name",
		"bill:123456":               "no {SCHEME}",
		"bill::":                    "no {SCHEME}",
		"bill:{PLAIN}":              "is empty",
		"bill:{CRYPT}$2y$05$abc":    "kept as CRYPT",
		"bill:{SHA256}abcd":         "kept as SHA256",
		"bill:{SSHA256}abcd":        "not a hash and a salt",
		"bill:{SCRAM-SHA-256}1,2,3": "not ITERATIONS",
		"bill:{SCRAM-SHA-256}5000,AA==,AA==,AA==":                                      "damaged",
		"bill:{SSHA256}" + base64.StdEncoding.EncodeToString(append(sum[:], 0, 255)):   "not printable",
		"bill:{SSHA256}" + base64.StdEncoding.EncodeToString(append(sum[:], "a,b"...)): "not printable",
		"bill,salt": "2 fields",
	} {
		if _, ok, err := ParseEntry(line); !ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", line, ok, err, want)
		}
	}
}

// What is exported for Dovecot comes back as it was.
func TestPasswd(t *testing.T) {
	for _, r := range []Record{record(t, "alice"), {Name: name(t, "bob"), Salt: "salt", Hash: strings.Repeat("0f", 32)}} {
		line, err := r.Passwd()
		if err != nil {
			t.Fatal(err)
		}
		if e, _, err := ParseEntry(line); err != nil || e.Record.String() != r.String() {
			t.Errorf("%s comes back as %s: %v", line, e.Record, err)
		}
	}
}

// Whom Dovecot does not let in is not let in here.
func TestNologin(t *testing.T) {
	for line, want := range map[string]bool{
		"a:{PLAIN}secret":                                  false,
		"a:{PLAIN}secret:1000:1000::/home/nologin":         false,
		"a:{PLAIN}secret:1000:1000::/home/a:/sbin/nologin": false,
		"a:{PLAIN}secret::::::nologin":                     true,
		"a:{PLAIN}secret:1:1::/home/a::x=a:b nologin=y":    true,
		"a:{PLAIN}secret::::::user=nologin":                false,
	} {
		if e, _, err := ParseEntry(line); err != nil || e.Disabled != want {
			t.Errorf("%s: %v, %v", line, e.Disabled, err)
		}
	}
}

func FuzzEntry(f *testing.F) {
	for _, line := range []string{
		"bill@localhost.com 123456", "alice:{PLAIN}secret:1:2", "a:{SSHA256.hex}" + strings.Repeat("61", 36), "a,b," + strings.Repeat("0", 64),
		"a:{SCRAM-SHA-256}4096,AA==," + strings.Repeat("A", 43) + "=," + strings.Repeat("A", 43) + "=", "# no",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, ok, err := ParseEntry(line)
		if !ok || err != nil || e.Password != "" {
			return
		}
		if strings.HasPrefix(line, e.Record.Name.String()+":") {
			if _, err := e.Record.line(); err != nil {
				t.Errorf("%q gives a record that can't be written: %v", line, err)
			}
		}
	})
}
