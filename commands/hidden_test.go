package commands

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"xm/internal/message"
)

// failingAfter takes so many octets.
type failingAfter int

func (f *failingAfter) Write(p []byte) (int, error) {
	if *f -= failingAfter(len(p)); *f < 0 {
		return 0, errors.New("the connection is broken")
	}
	return len(p), nil
}

// A message whose sending broke off can be sealed again, for a draft: nothing still reads
// it.
func TestSealAfterABrokenConnection(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	spool, cleanUp := newSpool()
	defer cleanUp()
	content, err := hide(strings.NewReader(strings.Repeat("x", 4<<20)), spool)
	if err != nil {
		t.Fatal(err)
	}
	o := outgoing{content: content, from: key}
	sealed := message.Sealed{From: "a@x", To: "b@x", Date: time.Now()}
	for range 20 {
		connection := failingAfter(1 << 20)
		if err := o.seal(&connection, sealed, o.sealer(&key.PublicKey)); err == nil {
			t.Fatal("it did not break")
		}
		if err := o.seal(io.Discard, sealed, o.sealer(&key.PublicKey)); err != nil {
			t.Fatal(err)
		}
	}
}
