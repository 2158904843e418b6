package commands

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
)

// allServers ends the description of each.
const allServers = "\nThe service metrics is off unless the config, or --listen, says where: over HTTP, GET /metrics\n" +
	"is for Prometheus, and GET /healthz answers 200, or 503 and what is wrong.\n" +
	"SIGTERM or Ctrl-C stops it: transactions under way may end, for 10 seconds; a second one ends\n" +
	"it at once. SIGHUP reads settings, users and certificate again; the sessions go on."

func serve() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the SMTP, POP3 and registration servers in one process",
		Description: "The services are smtp, submission, submissions (with TLS from the start), pop3, pop3s\n" +
			"(likewise), regd, and acme (what an authority asks before it issues a certificate); each\n" +
			"runs where the config, or --listen, says where. The registration server's key pair is made\n" +
			"in the keys directory where there is none; its users compare the fingerprint (xm key list)\n" +
			"when they register." + allServers,
		Flags:  serviceFlags("`SERVICE=HOST:PORT`", passphraseFlag()),
		Action: func(c *cli.Context) error { return runServers(c, "", services) },
	}
}

func smtpdCommand() *cli.Command {
	return &cli.Command{
		Name:  "smtpd",
		Usage: "run the SMTP server",
		Description: "The services are smtp, submission, submissions (with TLS from the start) and acme (what an\n" +
			"authority asks before it issues a certificate), each where the config, or --listen, says\n" +
			"where." + allServers,
		Flags: serviceFlags("`[SERVICE=]HOST:PORT`, smtp where no service is named"),
		Action: func(c *cli.Context) error {
			return runServers(c, smtpService, slices.Concat(smtpServices, metricsServices))
		},
	}
}

func pop3dCommand() *cli.Command {
	return &cli.Command{
		Name:  "pop3d",
		Usage: "run the POP3 server",
		Description: "The services are pop3 and pop3s (with TLS from the start), each where the config, or\n" +
			"--listen, says where. Passwords are taken under TLS and from this machine alone." + allServers,
		Flags: serviceFlags("`[SERVICE=]HOST:PORT`, pop3 where no service is named"),
		Action: func(c *cli.Context) error {
			return runServers(c, pop3Service, slices.Concat(pop3Services, metricsServices))
		},
	}
}

func regdCommand() *cli.Command {
	return &cli.Command{
		Name:  "regd",
		Usage: "run the registration server",
		Description: "It registers users, whose requests it opens with key.priv of the keys directory, and\n" +
			"gives out their public keys, signed. key.priv is made where there is none; its users\n" +
			"compare the fingerprint (xm key list) when they register. Who may register is set in\n" +
			"[regd] of the config: anybody, whoever has an invite (xm user invite), or nobody." + allServers,
		Flags: serviceFlags("`[SERVICE=]HOST:PORT`, regd where no service is named", passphraseFlag()),
		Action: func(c *cli.Context) error {
			return runServers(c, regdService, slices.Concat(regdServices, metricsServices))
		},
	}
}

func serviceFlags(address string, more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{listenFlag(address), logJSONFlag(), logLevelFlag()}, more...)
}

func listenFlag(value string) cli.Flag {
	return &cli.StringSliceFlag{
		Name:  "listen",
		Usage: "accept connections on " + value + ", rather than where the config says; port 0 is any free one. May be repeated",
	}
}

// readListen gives the addresses of the --listen flags, by service. main is the
// service meant where none is named; "" if one must be.
func readListen(c *cli.Context, main string, allowed []service) (map[string]string, error) {
	listen := map[string]string{}
	for _, l := range c.StringSlice("listen") {
		name, addr, named := strings.Cut(l, "=")
		if !named {
			name, addr = main, l
		}
		if !slices.ContainsFunc(allowed, func(s service) bool { return s.name == name }) {
			var names []string
			for _, s := range allowed {
				names = append(names, s.name)
			}
			return nil, usageErrorf("--listen %s: it is SERVICE=HOST:PORT, and SERVICE one of %s", l, strings.Join(names, ", "))
		}
		if err := config.CheckAddress(addr); err != nil {
			return nil, usageErrorf("--listen %s: %v", l, err)
		}
		if listen[name] != "" {
			return nil, usageErrorf("--listen names %s twice", name)
		}
		listen[name] = addr
	}
	return listen, nil
}
