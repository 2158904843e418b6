// Package message builds and reads messages: MIME (RFC 2045 to 2049, 2183, 2231)
// over RFC 5322, and the encrypted message that travels as one.
//
// # The encrypted message
//
// Outside, there is what transport needs and nothing else:
//
//	From: alice@example.org
//	To: bob@example.org                     the one recipient of this copy
//	Subject: Encrypted message              always the same
//	Date: ...
//	Message-ID: <...>                       random; not the one inside
//	MIME-Version: 1.0
//	Content-Type: multipart/mixed; boundary=...
//
//	  text/plain                            tells a person what to do
//	  application/octet-stream; name="enc"  Content-Disposition: attachment;
//	                                        filename="enc", quoted-printable
//
// The part that is named "enc" is a Signed payload of package hybrid, octet for
// octet: one line of hex digits and "$", which quoted-printable leaves as they
// are at a cost of 3 octets for each 73. Any mail program can save it as the file
// that `xm decrypt SENDER` reads. A message has one recipient; a message for
// several is sealed for each and sent to each.
//
// The payload's message is a MIME entity (RFC 5322 header, empty line, body;
// CRLF line ends) whose first line is
//
//	MIME-Version: 1.0
//
// which tells it from the plain text that payloads held before. Its header has
// the real Subject, From, To, Cc, Date, Message-ID, In-Reply-To and References.
// Bcc is never there; who gets such a copy is not in the header at all. The body
// is a text/plain, or a multipart/mixed of a text and attachments. Nothing inside
// is encoded for transport: text is 8bit UTF-8, attachments are binary (RFC 2045,
// section 2.9), and header fields may hold UTF-8 (RFC 6532). So a file costs
// little more than twice its size on the way: that is what hex does to it.
//
// # Reading one
//
// The payload is the first part that is named "enc", by its Content-Disposition
// or its Content-Type, whatever its type and encoding are; or else a text that
// begins with 512 or more hex digits and "$", as the original's client sent it.
// The outer From says where to look for the sender's key and nothing more. Once
// the payload is verified:
//
//   - the inner From must be an address that the signer's key is kept for.
//     Another is a forgery by the signer and must be shown as one;
//   - outer Subject, Reply-To, To and Cc are not signed: they are not shown, nor
//     answered to. The outer Date is, where nothing is inside but a text, or in a
//     list of messages that are not opened;
//   - a Message-ID inside that was read before, in another message of the same
//     signer, is a replay: the signature does not cover when, or how often, a
//     message is delivered.
//
// # Reading anything
//
// What comes from outside is taken as it is: broken header lines, unknown
// charsets and cut-off parts cost what they touch, never the message. Sizes,
// depth and the number of parts are bounded. Text is returned as it was sent,
// with control characters: who prints it makes it harmless.
package message
