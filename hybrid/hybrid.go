// Package hybrid seals and opens messages in the payload formats of hybrid.py,
// bit for bit, and handles the RSA keys that they are sealed with.
//
// A payload is one line of hexadecimal fields (lower case), each followed by
// "$", without a newline:
//
//	Signed    "enc"   sig $ ek $ iv $ tag $ ct $
//	Unsigned  "reg"         ek $ iv $ tag $ ct $
//
//	ek   a fresh 16-byte AES key under the recipient's RSA key: RSA-OAEP with
//	     SHA-1, MGF1-SHA-1 and no label (RFC 8017, section 7.1); as long as the key
//	iv   12 random bytes
//	ct   the message under AES-128-GCM(key, iv), no associated data
//	tag  its 16-byte authentication tag (NIST SP 800-38D)
//	sig  the sender's RSA-PSS signature of iv || ek || tag with SHA-256,
//	     MGF1-SHA-256 and the longest salt that fits (RFC 8017, section 8.1);
//	     as long as the sender's key
//
// Reading is strict: exact lengths, canonical hex, the exact number of fields.
// Only the first line of the input is looked at, as hybrid.py did.
//
// # What the format does not give
//
// The signature covers iv, ek and tag: no name, no subject and no date. A
// recipient can pass a payload on as it is, and it may be delivered twice.
// Whoever knows the AES key, which is the sender and the recipient, can make
// another ct that has the same tag. An Unsigned payload says nothing about who
// made it.
//
// # Streams
//
// Sealer and Opener work on messages of any length in constant memory. Nothing
// of a message is given out before its signature and tag are known to be good.
//
// The package is pure: it takes readers, writers and bytes, and never opens a
// file, prints or exits.
package hybrid

import (
	"errors"
	"fmt"
)

// Format tells the payload formats apart.
type Format int

const (
	Signed   Format = iota // five fields: what "enc" holds
	Unsigned               // four fields: what "reg" holds
)

// String names the file that the format is usually found in.
func (f Format) String() string {
	if f == Signed {
		return "a signed payload (enc)"
	}
	return "an unsigned payload (reg)"
}

// ErrNotAuthentic is matched by every error that says: this is not an authentic
// payload for this key, from that sender. It covers damage, forgery, the wrong
// keys and input that is no payload at all.
var ErrNotAuthentic = errors.New("not authentic")

// ErrOtherRecipient is matched, beside ErrNotAuthentic, by the error for a payload
// that none of the private keys opens.
var ErrOtherRecipient = errors.New("it is encrypted for another key, or was changed")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrNotAuthentic}, args...)...)
}
