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
		Usage:     "register with a server, or make a registration for one: writes reg",
		ArgsUsage: `--server HOST[:PORT] NAME | "name,salt,hash"`,
		Description: "With --server, registers NAME over the network: a name alone, or name@domain, where the\n" +
			"domain is one of the server's. The password is asked for, and the server does not see it:\n" +
			"it gets what it needs to check one. Your key pair is made where there is none. The key of\n" +
			"the server is shown when it is asked for the first time, for you to compare, and pinned as\n" +
			"server.pub; one that changed is refused. Your key's fingerprint is printed.\n\n" +
			"Without --server, it does what hybrid.py did: encrypts the name, salt and hash, and your\n" +
			"public key, for the owner of server.pub. hash is the SHA-256, in hex, of the password\n" +
			"followed by the salt. Without an argument, standard input is read. To register, send the\n" +
			"payload to the server, which answers in one line:\n\n" +
			"   printf 'alice,%s,%s' \"$salt\" \"$hash\" | xm register -o - | nc -N mail.example.org 60085\n\n" +
			"What stands on the command line can be seen by other users of this machine.",
		Flags: serverFlags(
			passwordFileFlag(),
			&cli.StringFlag{Name: "invite", Usage: "the `CODE` that the operator gave you, for servers that ask for one", EnvVars: []string{"XM_INVITE"}},
			inputFlag("read name,salt,hash from `FILE`"),
			outputFlag("write the payload to `FILE`", "reg"),
			passphraseFlag(),
		),
		Action: runRegister,
	}
}

func runRegister(c *cli.Context) error {
	if c.IsSet("server") {
		return registerOver(c)
	}
	line, err := registrationLine(c)
	if err != nil {
		return err
	}
	if strings.Count(line, ",") != 2 {
		return usageErrorf("a registration is name,salt,hash, with two commas; to register over the network, say --server HOST")
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
