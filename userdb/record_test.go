package userdb

import (
	"encoding/base64"
	"strings"
	"testing"
)

// RFC 7677, section 3: user "user", password "pencil", i=4096.
const rfc7677Salt = "W22ZaJ0SNY7soEsUEjb6gQ=="

func TestSCRAMVector(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString(rfc7677Salt)
	s, err := deriveSCRAM("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	// The keys that give that section's client proof and server signature.
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if s.String() != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestNewRecord(t *testing.T) {
	name, _ := ParseName("alice@localhost.com")
	r, err := NewRecord(name, "correct horse  battery", minIterations)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseRecord(r.String())
	if err != nil || back.String() != r.String() {
		t.Fatalf("%s came back as %s, %v", r, back, err)
	}
	if !back.verify("correct horse  battery") || back.verify("correct horse battery") || back.verify("") {
		t.Error("the wrong password is right")
	}
	// SASLprep maps a no-break space to a space (RFC 4013, section 2.1).
	if !back.verify("correct\u00a0horse  battery") {
		t.Error("the password was not prepared")
	}
	for _, password := range []string{"", "bell\a", "\u00ad"} {
		if _, err := NewRecord(name, password, minIterations); err == nil {
			t.Errorf("password %q was accepted", password)
		}
	}
	if _, err := NewRecord(name, "x", minIterations-1); err == nil {
		t.Error("too few iterations were accepted")
	}
}

func TestParseRecordFailures(t *testing.T) {
	const hash = "23bc6210621a19ac68d239c21914ffe40bec4019358bbb7ee99a3192f57ecf69"
	name, _ := ParseName("u")
	good, err := NewRecord(name, "x", minIterations)
	if err != nil {
		t.Fatal(err)
	}
	scramOf := func(old, new string) string { return "u," + good.Salt + "," + strings.Replace(good.Hash, old, new, 1) }
	for line, want := range map[string]string{
		"":                           "1 fields",
		"user,salt":                  "2 fields",
		"user,salt," + hash + ",a,b": "5 fields",
		"../u,salt," + hash:          "can't be a user name",
		"user,," + hash:              "salt",
		"user,sa lt," + hash:         "salt",
		"user," + strings.Repeat("s", maxSalt+1) + "," + hash: "salt",
		"user,salt," + hash[1:]:                               "hash",
		"user,salt," + hash + ",!":                            "not base64",
		"u,other," + good.Hash:                                "does not repeat",
		scramOf("$4096", "$4095"):                             "iterations",
		scramOf("$4096", "$1000001"):                          "iterations",
		scramOf("$4096", "$04096"):                            "one form",
		"user,salt," + hash + "," + base64.StdEncoding.EncodeToString(make([]byte, maxKeys+1)): "over 16384",
		scramOf("$4096", "$x"):          "iterations",
		scramOf(":", ""):                "ITERATIONS:SALT",
		scramOf("=:", "!:"):             "damaged",
		"u,x,SCRAM-SHA-256$4096:$eA==:": "damaged",
	} {
		if r, err := ParseRecord(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", line, r, err, want)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("user,uTdee051sDn3eLlj,23bc6210621a19ac68d239c21914ffe40bec4019358bbb7ee99a3192f57ecf69")
	f.Add("u,W22ZaJ0SNY7soEsUEjb6gQ==,SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=,eA==")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := ParseRecord(line)
		if err != nil {
			return
		}
		again, err := ParseRecord(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("%q became %q, %v", r, again, err)
		}
		if strings.ContainsAny(r.String(), "\n\r") {
			t.Errorf("%q holds a line end", r)
		}
	})
}
