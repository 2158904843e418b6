package commands

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/internal/safefile"
	"xm/userdb"
)

func encrypt() *cli.Command {
	return &cli.Command{
		Name:      "encrypt",
		Usage:     "encrypt a message for USER and sign it: writes enc",
		ArgsUsage: "USER [MESSAGE...]",
		Description: "Encrypts for the owner of USER.pub and signs with key.priv. Without MESSAGE,\n" +
			"standard input is encrypted, whatever its length. A key that is not at hand is fetched from\n" +
			"a server whose key is pinned: your own, say (see xm key fetch). A MESSAGE on the command line can be\n" +
			"seen by other users of this machine; a pipe can not:\n\n" +
			"   xm encrypt -o - bob < letter | ssh host 'cat > enc'\n\n" +
			"A payload has one recipient. For several, name each with -r, and no USER: each gets a\n" +
			"payload of their own, enc.USER.",
		Flags: []cli.Flag{
			inputFlag("encrypt `FILE`"),
			outputFlag("write the payload to `FILE`", "enc"),
			&cli.StringSliceFlag{Name: "r", Usage: "encrypt for `USER`, into FILE.USER; may be repeated"},
			offlineFlag(),
			quietFlag(),
			passphraseFlag(),
		},
		Action: runEncrypt,
	}
}

func runEncrypt(c *cli.Context) error {
	users, words := c.StringSlice("r"), c.Args().Slice()
	if len(users) > 0 {
		return encryptForSeveral(c, users, words)
	}
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	keys, err := readKeys(c, words[:1])
	if err != nil {
		return err
	}
	in, err := messageInput(c, words[1:])
	if err != nil {
		return err
	}
	return sealInto(c, keys, []string{c.String("o")}, in)
}

func encryptForSeveral(c *cli.Context, users, words []string) error {
	if c.String("o") == stdio {
		return usageErrorf("-o -: several payloads can't go to one place")
	}
	var paths []string
	for _, u := range users {
		if slices.Contains(paths, c.String("o")+"."+u) {
			return usageErrorf("-r %s: it is named twice", u)
		}
		paths = append(paths, c.String("o")+"."+u)
	}
	keys, err := readKeys(c, users)
	if err != nil {
		return err
	}
	in, err := messageInput(c, words)
	if err != nil {
		return err
	}
	return sealInto(c, keys, paths, in)
}

// sealingKeys are those that a message is sealed with.
type sealingKeys struct {
	from *rsa.PrivateKey
	to   []*rsa.PublicKey
}

// readKeys reads one's own key and those of users.
func readKeys(c *cli.Context, users []string) (keys sealingKeys, err error) {
	ring, err := openKeys(c)
	if err != nil {
		return keys, err
	}
	defer ring.Close()
	for _, u := range users {
		key, err := recipientKey(c, ring, u)
		if err != nil {
			return keys, err
		}
		keys.to = append(keys.to, key)
	}
	keys.from, err = ownKey(c, ring)
	return keys, err
}

// recipientKey reads the key of a user, or fetches it where it is not at hand.
func recipientKey(c *cli.Context, ring *keyring.Ring, user string) (*rsa.PublicKey, error) {
	key, err := ring.Public(user)
	if !errors.Is(err, keyring.ErrNotFound) || c.Bool("offline") {
		return key, err
	}
	name, nameErr := userdb.ParseName(user)
	if nameErr != nil {
		return nil, err
	}
	d, dirErr := openDirectories(c, ring)
	if dirErr != nil {
		return nil, dirErr
	}
	key, fetchErr := d.fetchMissing(name)
	if fetchErr != nil {
		return nil, fmt.Errorf("%w\n%w", err, fetchErr)
	}
	return key, nil
}

func offlineFlag() cli.Flag {
	return &cli.BoolFlag{Name: "offline", Usage: "ask no server for a key that is not at hand"}
}

// messageInput takes the message from words, from -i, or from standard input.
func messageInput(c *cli.Context, words []string) (input, error) {
	if slices.Equal(words, []string{stdio}) {
		words = nil
	}
	switch {
	case len(words) > 0 && c.IsSet("i"):
		return input{}, usageErrorf("a message stands on the command line already: -i is too much")
	case len(words) > 0:
		return inputOfBytes([]byte(strings.Join(words, " "))), nil
	case c.IsSet("i"):
		return openInput(c, c.String("i"))
	}
	return openInput(c, stdio)
}

// sealInto writes a payload of the message for each recipient, or none at all.
func sealInto(c *cli.Context, keys sealingKeys, paths []string, in input) error {
	var outs []output
	defer func() {
		for _, out := range outs {
			out.abort()
		}
	}()
	passes := int64(0)
	for _, path := range paths {
		out, err := openOutput(c, path, 0o644, (*safefile.File).Commit)
		if err != nil {
			return errors.Join(err, in.close())
		}
		outs = append(outs, out)
		passes += 2
		if _, ok := out.Writer.(io.WriteSeeker); ok {
			passes--
		}
	}
	in = withProgress(c, in, passes)
	defer in.close()
	if err := sealAll(keys, outs, in); err != nil {
		return err
	}
	for _, out := range outs {
		if err := out.commit(); err != nil {
			return err
		}
	}
	return nil
}

// stayWithin32MiB is for streams of any length; the program itself is included.
// Near the limit, garbage is collected more often. Each processor has memory of its
// own: with many, it would be collected all the time.
func stayWithin32MiB() {
	const heapLimit, processors = 18 << 20, 4
	debug.SetMemoryLimit(heapLimit)
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), processors))
}

func sealAll(keys sealingKeys, outs []output, in input) error {
	stayWithin32MiB()
	spool, cleanUp := newSpool()
	defer cleanUp()
	var seals []func(io.Reader) error
	for i, key := range keys.to {
		s := hybrid.Sealer{Format: hybrid.Signed, To: key, From: keys.from, Spool: spool}
		seals = append(seals, func(r io.Reader) error { return s.Seal(outs[i].Writer, r) })
	}
	if len(seals) == 1 {
		return seals[0](in.Reader)
	}
	again, ok := in.Reader.(io.ReadSeeker)
	if !ok {
		var err error
		if again, err = hide(in, spool); err != nil {
			return err
		}
	}
	return oneByOne(seals, again)
}

func oneByOne(seals []func(io.Reader) error, in io.ReadSeeker) error {
	start, err := in.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	for _, seal := range seals {
		if _, err := in.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if err := seal(in); err != nil {
			return err
		}
	}
	return nil
}
