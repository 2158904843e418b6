// Package config reads xm.toml.
//
//	hostname   = "mail.example.org"            # default: this machine's name
//	domains    = ["localhost", "localhost.com"] # whose addresses are all ours
//	data_dir   = "data"                        # users.txt and the maildrops
//	postmaster = "alice"                       # short for an alias of one
//
//	[aliases]                                  # who gets the mail for a name
//	info               = ["alice", "bob"]      # at every local domain
//	"info@example.org" = ["info", "carol"]     # users and other aliases
//
//	[quota]                                    # of a maildrop; 0: no limit
//	octets   = 0                               # xm user set has the users' own
//	messages = 0
//
//	[tls]                                      # read again when they change
//	cert = "cert.pem"                          # the chain, ours first
//	key  = "key.pem"
//	acme = false                               # or from an authority, whose terms
//	                                           # of service this agrees to
//	acme_names     = []                        # besides hostname
//	acme_listen    = ":80"                     # where the authority looks
//	acme_directory = "https://acme-v02.api.letsencrypt.org/directory"
//	acme_ca        = ""                        # whom acme_directory's own is from
//	acme_state     = "acme"                    # default: beside data_dir
//
//	[login]
//	failure_delay = "1s"                       # after a wrong password
//	max_failures  = 20                         # of an address in 10 minutes
//	iterations    = 100000                     # of PBKDF2, in new records; Cyrus
//	                                           # SASL, in Postfix say, takes 65536
//
//	[smtp]                                     # the port for other servers, 25
//	listen          = "127.0.0.1:2525"
//	max_size        = 67108864                 # octets of a message
//	max_recipients  = 1000
//	max_connections = 20000
//	max_per_address = 100
//	trusted         = ["127.0.0.0/8", "::1/128"] # who may use local senders
//	proxies         = []                       # who begins with a PROXY header
//
//	[submission]                               # the ports for mail programs
//	listen     = ""                            # 587, with STARTTLS
//	listen_tls = ""                            # 465, TLS from the start
//
//	[pop3]
//	listen          = "127.0.0.1:2110"         # 110, with STLS
//	listen_tls      = ""                       # 995, TLS from the start
//	max_connections = 20000
//	max_per_address = 100
//	login_delay     = "0s"                     # from one login of a user to the next
//	proxies         = []                       # who begins with a PROXY header
//
//	[regd]
//	listen                 = "127.0.0.1:60085"
//	max_connections        = 200
//	max_per_address        = 100
//	proxies                = []                # who begins with a PROXY header
//	policy                 = "open"            # who may register: open, invite, closed
//	requests_per_minute    = 300               # of an address; 0: no limit
//	registrations_per_hour = 30                # likewise
//	keys                   = "."               # of the server's key pair
//
//	[metrics]                                  # for Prometheus: /metrics, /healthz
//	listen = ""                                # 127.0.0.1:9925, say
//	allow  = ["127.0.0.0/8", "::1/128"]        # who may ask
//
//	[account]                                  # for the mail client, where no
//	user             = "alice@localhost.com"   # xm login was made
//	password         = "secret"                # or one of the next two
//	password_file    = "password"              # its first line
//	password_command = "pass show mail"        # the first line that sh prints
//	smtp             = "127.0.0.1:2525"        # or smtps://HOST:PORT: TLS from
//	pop3             = "127.0.0.1:2110"        # the start; also on 465 and 995
//	tls_fingerprint  = ""                      # SHA-256 of the certificate
//	keys             = ""                      # where --keys says nothing
//	server           = "mail.example.org"      # registration, HOST[:PORT]
//
//	[directories]                              # who knows the keys of a domain
//	"example.org" = "https://mail.example.org" # https:// asks for TLS
//
// Everything has a default; the values above are the defaults, but for hostname,
// postmaster, the aliases, the users' quotas, cert and key, user, the three
// passwords, server and the directories. A service without an address to listen
// on is switched off.
// Limits of smtp are those of submission, too. Relative paths are relative to
// the directory of the file. A key that is not listed here is an error.
package config

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// Config is everything that can be set.
type Config struct {
	Hostname   string   `toml:"hostname"`
	Domains    []string `toml:"domains"`
	DataDir    string   `toml:"data_dir"`
	Postmaster string   `toml:"postmaster"`

	Aliases map[string][]string `toml:"aliases"`
	Quota   Limits              `toml:"quota"`

	TLS        TLS        `toml:"tls"`
	Login      Login      `toml:"login"`
	SMTP       SMTP       `toml:"smtp"`
	Submission Submission `toml:"submission"`
	POP3       POP3       `toml:"pop3"`
	Regd       Regd       `toml:"regd"`
	Metrics    Metrics    `toml:"metrics"`
	Log        Log        `toml:"log"`
	Account    Account    `toml:"account"`

	Directories map[string]string `toml:"directories"`
	// File is where it was read from; empty for none.
	File    string            `toml:"-"`
	sources map[string]string // FILE:LINE, or the flag, of each setting that was made
}

// TLS is the servers' certificate and key, if they have one, or how it is
// obtained (RFC 8555).
type TLS struct {
	Cert          string   `toml:"cert"`
	Key           string   `toml:"key"`
	ACME          bool     `toml:"acme"`
	ACMENames     []string `toml:"acme_names"`
	ACMEListen    string   `toml:"acme_listen"`
	ACMEDirectory string   `toml:"acme_directory"`
	ACMECA        string   `toml:"acme_ca"`
	ACMEState     string   `toml:"acme_state"`
}

// Login bounds what guessing passwords can gain.
type Login struct {
	FailureDelay time.Duration `toml:"failure_delay"`
	MaxFailures  int           `toml:"max_failures"`
	Iterations   int           `toml:"iterations"`
}

// SMTP is for xm smtpd.
type SMTP struct {
	Listen         string   `toml:"listen"`
	MaxSize        int64    `toml:"max_size"`
	MaxRecipients  int      `toml:"max_recipients"`
	MaxConnections int      `toml:"max_connections"`
	MaxPerAddress  int      `toml:"max_per_address"`
	Trusted        Networks `toml:"trusted"`
	Proxies        Networks `toml:"proxies"`
}

// Submission is for xm smtpd, too.
type Submission struct {
	Listen    string `toml:"listen"`
	ListenTLS string `toml:"listen_tls"`
}

// POP3 is for xm pop3d.
type POP3 struct {
	Listen         string        `toml:"listen"`
	ListenTLS      string        `toml:"listen_tls"`
	MaxConnections int           `toml:"max_connections"`
	MaxPerAddress  int           `toml:"max_per_address"`
	LoginDelay     time.Duration `toml:"login_delay"`
	Proxies        Networks      `toml:"proxies"`
}

// Regd is for xm regd.
type Regd struct {
	Listen               string   `toml:"listen"`
	MaxConnections       int      `toml:"max_connections"`
	MaxPerAddress        int      `toml:"max_per_address"`
	Proxies              Networks `toml:"proxies"`
	Policy               string   `toml:"policy"`
	RequestsPerMinute    int      `toml:"requests_per_minute"`
	RegistrationsPerHour int      `toml:"registrations_per_hour"`
	Keys                 string   `toml:"keys"`
}

// Metrics is for all servers.
type Metrics struct {
	Listen string   `toml:"listen"`
	Allow  Networks `toml:"allow"`
}

// The formats of the log.
const (
	LogText = "text"
	LogJSON = "json"
)

// Log is what the servers log.
type Log struct {
	Format string `toml:"format"`
	Level  string `toml:"level"`
}

// Account is for the mail client.
type Account struct {
	User            string `toml:"user"`
	Password        string `toml:"password,omitempty"`
	PasswordFile    string `toml:"password_file,omitempty"`
	PasswordCommand string `toml:"password_command,omitempty"`
	SMTP            string `toml:"smtp"`
	POP3            string `toml:"pop3"`
	TLSFingerprint  string `toml:"tls_fingerprint,omitempty"`
	Keys            string `toml:"keys,omitempty"`
	Server          string `toml:"server,omitempty"`
}

func defaults() (Config, error) {
	host, err := os.Hostname()
	if err != nil {
		return Config{}, fmt.Errorf("this machine's name: %w", err)
	}
	const smtp, pop3, regd = "127.0.0.1:2525", "127.0.0.1:2110", "127.0.0.1:60085"
	return Config{
		Hostname: host,
		Domains:  []string{"localhost", "localhost.com"},
		DataDir:  "data",
		TLS:      TLS{ACMEListen: ":80", ACMEDirectory: "https://acme-v02.api.letsencrypt.org/directory"},
		Login:    Login{FailureDelay: time.Second, MaxFailures: 20, Iterations: 100_000},
		SMTP: SMTP{
			Listen: smtp, MaxSize: 64 << 20, MaxRecipients: 1000, MaxConnections: 20_000, MaxPerAddress: 100,
			Trusted: loopback(),
		},
		POP3: POP3{Listen: pop3, MaxConnections: 20_000, MaxPerAddress: 100},
		Regd: Regd{
			Listen: regd, MaxConnections: 200, MaxPerAddress: 100,
			Policy: "open", RequestsPerMinute: 300, RegistrationsPerHour: 30, Keys: ".",
		},
		Metrics: Metrics{Allow: loopback()},
		Log:     Log{Format: LogText, Level: "info"},
		Account: Account{SMTP: smtp, POP3: pop3},
	}, nil
}

// LocalDomains are the configured domains and the host name.
func (c *Config) LocalDomains() []string {
	return append(slices.Clone(c.Domains), c.Hostname)
}
