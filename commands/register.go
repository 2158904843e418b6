package commands

import (
	"encoding/base64"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/userdb"
)

func register() *cli.Command {
	return &cli.Command{
		Name:      "register",
		Usage:     "make a registration for a server: writes reg",
		ArgsUsage: `"name,salt,hash"`,
		Description: "Encrypts the name, salt and hash, and your public key, for the owner of server.pub.\n" +
			"hash is the SHA-256, in hex, of the password followed by the salt. Your key pair is\n" +
			"made where there is none. Without an argument, standard input is read. To register,\n" +
			"send the payload to the server, which answers in one line:\n\n" +
			"   printf 'alice,%s,%s' \"$salt\" \"$hash\" | xm register -o - | nc -N mail.example.org 60085\n\n" +
			"What stands on the command line can be seen by other users of this machine.",
		Flags: []cli.Flag{
			inputFlag("read name,salt,hash from `FILE`"),
			outputFlag("write the payload to `FILE`", "reg"),
			passphraseFlag(),
		},
		Action: runRegister,
	}
}

func runRegister(c *cli.Context) error {
	line, err := registrationLine(c)
	if err != nil {
		return err
	}
	if strings.Count(line, ",") != 2 {
		return usageErrorf("a registration is name,salt,hash: it has two commas")
	}
	r, err := userdb.ParseRecord(line)
	if err != nil {
		return usageErrorf("the registration is not name,salt,hash: %v", err)
	}
	ring, err := createKeys(c)
	if err != nil {
		return err
	}
	defer ring.Close()
	server, err := ring.Public(keyring.Server)
	if err != nil {
		return err
	}
	key, made, err := ensureOwnKey(c, ring)
	if err != nil {
		return err
	}
	if made {
		say(c, "made your key pair, key.priv and key.pub, in %s", keysDir(c))
	}
	pem := base64.StdEncoding.EncodeToString(hybrid.MarshalPublicKey(&key.PublicKey))
	payload, err := hybrid.SealUnsigned([]byte(r.String()+","+pem+"\n"), server)
	if err != nil {
		return err
	}
	return writeOutput(c, c.String("o"), payload, 0o644)
}

// registrationLine takes "name,salt,hash" from the argument, from -i, or from
// standard input.
func registrationLine(c *cli.Context) (string, error) {
	if err := wantArgs(c, 0, 1); err != nil {
		return "", err
	}
	if c.NArg() == 1 {
		if c.IsSet("i") {
			return "", usageErrorf("the registration stands on the command line already: -i is too much")
		}
		return c.Args().First(), nil
	}
	path := stdio
	if c.IsSet("i") {
		path = c.String("i")
	}
	text, err := readInput(c, path)
	return strings.TrimRight(string(text), "\r\n"), err
}
