package hybrid

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"testing"
)

// The beginning of a payload tells who signed it, and nobody else did.
func TestSigner(t *testing.T) {
	me, sender := seedKeys(t)
	enc := readFile(t, "seed", "enc")
	o := Opener{Format: Signed, From: []*rsa.PublicKey{&newKey().PublicKey, sender}}
	beginning := bytes.LastIndexByte(enc[:len(enc)-1], '$') + 1
	if from, err := o.Signer(bytes.NewReader(enc[:beginning])); err != nil || from != 1 {
		t.Errorf("signer %d, %v", from, err)
	}
	o.From = []*rsa.PublicKey{&me.PublicKey}
	for name, payload := range map[string][]byte{"somebody else's": enc, "cut": enc[:beginning-2], "nothing": nil} {
		if _, err := o.Signer(bytes.NewReader(payload)); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPayloadSize(t *testing.T) {
	me, _ := seedKeys(t)
	for _, s := range []Sealer{{Format: Signed, To: &me.PublicKey, From: newKey()}, {Format: Unsigned, To: &me.PublicKey}} {
		for _, n := range []int{0, 1, 1000} {
			var payload bytes.Buffer
			if err := s.Seal(&payload, bytes.NewReader(make([]byte, n))); err != nil || s.PayloadSize(int64(n)) != int64(payload.Len()) {
				t.Errorf("%v: a message of %d makes %d octets, and not %d; %v", s.Format, n, payload.Len(), s.PayloadSize(int64(n)), err)
			}
		}
	}
}
