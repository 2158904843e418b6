package commands

import (
	"github.com/urfave/cli/v2"

	"xm/internal/mailclient"
)

func rm() *cli.Command {
	return &cli.Command{
		Name:        "rm",
		Usage:       "delete messages on the server",
		ArgsUsage:   "ID...",
		Description: "Each ID is an id or a number that xm inbox prints. All are deleted, or none.",
		Flags:       accountFlags(),
		Action:      runRm,
	}
}

func runRm(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	for _, word := range c.Args().Slice() {
		if err := checkMessageWord(word); err != nil {
			return err
		}
	}
	a, err := loadAccount(c)
	if err != nil {
		return err
	}
	return withMaildrop(c, a, func(p *mailclient.POP3) error {
		list, err := p.List()
		if err != nil {
			return err
		}
		marked := map[int]bool{}
		for _, word := range c.Args().Slice() {
			l, err := findMessage(list, word)
			if err != nil {
				return err
			}
			marked[l.Number] = true
		}
		for number := range marked {
			if err := p.Delete(number); err != nil {
				return err
			}
		}
		return nil
	})
}
