package commands

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/config"
	"xm/internal/mailclient"
	"xm/userdb"
)

func send() *cli.Command {
	return &cli.Command{
		Name:      "send",
		Usage:     "encrypt a message for USER, sign it and mail it",
		ArgsUsage: "USER [MESSAGE...]",
		Description: "Encrypts for the owner of USER.pub and signs with key.priv. Without MESSAGE, standard\n" +
			"input is sent. A key that is not at hand is fetched from your registration server, or\n" +
			"another whose key is pinned. A USER without a domain gets yours. The mail's own subject says nothing;\n" +
			"names and the time can be seen on the way.",
		Flags:  accountFlags(inputFlag("send `FILE`"), offlineFlag(), passphraseFlag()),
		Action: runSend,
	}
}

func runSend(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	account, err := loadAccount(c)
	if err != nil {
		return err
	}
	name, err := userdb.ParseName(c.Args().First())
	if err != nil {
		return usageError{err.Error()}
	}
	if account.PasswordFile == stdio && c.NArg() == 1 && !c.IsSet("i") {
		return usageErrorf("standard input can't be both the password and the message")
	}
	payload, err := sealMessage(c, name.String())
	if err != nil {
		return err
	}
	from, to := addressOf(account.User, account), addressOf(name.String(), account)
	message, err := mailclient.Compose(from, to, payload, time.Now())
	if err != nil {
		return err
	}
	auth, err := submissionCredentials(c, account)
	if err != nil {
		return err
	}
	if err := mailclient.Submit(c.Context, account.SMTP, from, to, message, auth); err != nil {
		var refused *mailclient.ReplyError
		if errors.As(err, &refused) && strings.HasPrefix(refused.Reply, "550 5.1.1") {
			return fmt.Errorf("%s: %w: %w", to, errNotFound, err)
		}
		return interrupted(c.Context, err)
	}
	say(c, "sent to %s, encrypted", to)
	return nil
}

// sealMessage makes the payload of the message that the command line gives.
func sealMessage(c *cli.Context, name string) ([]byte, error) {
	keys, err := readKeys(c, []string{name})
	if err != nil {
		return nil, err
	}
	in, err := messageInput(c, c.Args().Tail())
	if err != nil {
		return nil, err
	}
	defer in.close()
	message, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	return hybrid.Seal(message, keys.to[0], keys.from)
}

// submissionCredentials are used by servers that ask for them. Many do not, so
// nobody is asked for a password here.
func submissionCredentials(c *cli.Context, a config.Account) (*mailclient.Credentials, error) {
	if a.PasswordFile == "" {
		return nil, nil
	}
	password, err := passwordFromFile(c, a.PasswordFile)
	if err != nil {
		return nil, err
	}
	return &mailclient.Credentials{User: a.User, Password: password}, nil
}
