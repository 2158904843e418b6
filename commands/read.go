package commands

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/internal/mailclient"
)

func read() *cli.Command {
	return &cli.Command{
		Name:      "read",
		Usage:     "fetch message N, verify and decrypt it, and print it",
		ArgsUsage: "N",
		Description: "N is the number that xm inbox prints. Verifies with the sender's NAME.pub, which is\n" +
			"looked for under the address in From and under what stands before its \"@\", and decrypts\n" +
			"with key.priv. Whose key signed the message, and whether you have verified that key, is\n" +
			"printed on standard error: trust that, not the header. A message that is not encrypted is printed as it came, unless --sender is\n" +
			"given. On a terminal, each line of a message begins with \"| \": nothing in it can pass\n" +
			"as xm's own words.",
		Flags:  accountFlags(passphraseFlag(), &cli.StringFlag{Name: "sender", Usage: "verify with `NAME`.pub, whatever the message says"}),
		Action: runRead,
	}
}

func runRead(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	number, err := strconv.Atoi(c.Args().First())
	if err != nil || number < 1 {
		return usageErrorf("%q is not a message's number: xm inbox lists them", c.Args().First())
	}
	var raw []byte
	err = withMaildrop(c, func(p *mailclient.POP3) (err error) {
		raw, err = p.Retrieve(number)
		var refused *mailclient.ReplyError
		if errors.As(err, &refused) && !strings.HasPrefix(refused.Reply, "-ERR [SYS/") {
			return fmt.Errorf("message %d: %w: %w", number, errNotFound, err)
		}
		return err
	})
	if err != nil {
		return err
	}
	message, err := mailclient.Read(raw)
	if !message.Encrypted && c.IsSet("sender") {
		return fmt.Errorf("message %d: %w: it is neither encrypted nor signed", number, hybrid.ErrNotAuthentic)
	}
	if !message.Encrypted {
		say(c, "message %d is not encrypted, and nobody vouches for it", number)
		return show(c, bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")))
	}
	if err != nil {
		return fmt.Errorf("message %d: %w: %w", number, hybrid.ErrNotAuthentic, err)
	}
	return openMessage(c, number, message)
}

func openMessage(c *cli.Context, number int, m mailclient.Message) error {
	ring, err := openKeys(c)
	if err != nil {
		return err
	}
	defer ring.Close()
	name, err := findSender(ring, c.String("sender"), m)
	if err != nil {
		return fmt.Errorf("message %d: %w", number, err)
	}
	o, err := newOpener(c, ring, name)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := o.open(&text, bytes.NewReader(m.Payload)); err != nil {
		return fmt.Errorf("message %d, verified with %s.pub: %w", number, name, err)
	}
	o.report()
	signer, err := signerOf(ring, o.by)
	if err != nil {
		return err
	}
	say(c, "message %d is signed with %s", number, signer)
	return show(c, text.Bytes())
}

// signerOf says whose key a signature was made with, and what is known of that.
func signerOf(ring *keyring.Ring, key keyring.PublicKey) (string, error) {
	if key.Former {
		return "a former key of " + key.Name, nil
	}
	t, err := ring.Trust(key.Name)
	switch t.State {
	case keyring.Verified:
		return fmt.Sprintf("the key of %s, which is verified", key.Name), err
	case keyring.Changed:
		return fmt.Sprintf("the known key of %s, but THE DIRECTORY HAS ANOTHER: see xm key accept --help", key.Name), err
	}
	return fmt.Sprintf("the key of %s, which is known, but not verified: see xm key verify --help", key.Name), err
}

// findSender finds whose keys to verify with. The address in the message only
// says where to look: the signature decides.
func findSender(ring *keyring.Ring, asked string, m mailclient.Message) (string, error) {
	if asked != "" {
		return asked, nil
	}
	if m.Sender == "" {
		return "", fmt.Errorf("%w: the message names no sender: say --sender NAME", keyring.ErrNotFound)
	}
	local, _, _ := strings.Cut(m.Sender, "@")
	for _, name := range []string{m.Sender, local} {
		if name == keyring.Own || name == keyring.Server {
			continue // nobody's name
		}
		_, _, err := ring.PublicKeys(name)
		// A sender that no key can be named after is somebody's idea of a joke.
		if err == nil || !errors.Is(err, keyring.ErrNotFound) && !errors.Is(err, keyring.ErrName) {
			return name, err
		}
	}
	return "", fmt.Errorf("%w: the keys directory has no NAME.pub for %q or %q; xm key fetch may get it", keyring.ErrNotFound, m.Sender, local)
}

// show prints text. On a terminal, what could command it is made harmless, and
// each line is marked as the message's.
func show(c *cli.Context, text []byte) error {
	out, ok := c.App.Writer.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) {
		_, err := c.App.Writer.Write(text)
		return err
	}
	var marked bytes.Buffer
	for line := range bytes.Lines(text) {
		marked.WriteString("| ")
		marked.Write(line)
	}
	if !bytes.HasSuffix(marked.Bytes(), []byte("\n")) {
		marked.WriteByte('\n')
	}
	w := mailclient.NewTerminalWriter(out)
	_, err := marked.WriteTo(w)
	return errors.Join(err, w.Close())
}
