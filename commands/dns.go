package commands

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
)

// record is a line of a zone file.
type record struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Data string `json:"data"`
	Note string `json:"note,omitempty"`
}

func printRecords(c *cli.Context, cfg config.Config) error {
	addrs, err := publicAddresses()
	if err != nil {
		return err
	}
	list := records(cfg, addrs)
	if c.Bool("json") {
		return printJSON(c, list)
	}
	w := newColumns(c.App.Writer)
	for _, r := range list {
		note := ""
		if r.Note != "" {
			note = "\t; " + r.Note
		}
		fmt.Fprintf(w, "%s.\t%s\t%s%s\n", r.Name, r.Type, r.Data, note)
	}
	return w.Flush()
}

// publicAddresses are those of this machine that the Internet could reach.
func publicAddresses() (list []netip.Addr, err error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.IsGlobalUnicast() && !ip.IsPrivate() {
				list = append(list, ip.Unmap())
			}
		}
	}
	return list, nil
}

// noSending is the SPF policy (RFC 7208) of a name that no server sends mail
// for: xm delivers here, and relays nothing.
const noSending = `"v=spf1 -all"`

// records are those that a server with these settings and addresses needs.
func records(cfg config.Config, addrs []netip.Addr) []record {
	list := addressRecords(cfg.Hostname, addrs)
	list = append(list, record{cfg.Hostname, "TXT", noSending, ""})
	for _, domain := range cfg.Domains {
		if domain == "localhost" || strings.HasPrefix(domain, "localhost.") {
			continue // nobody's in DNS
		}
		note := ""
		if portOf(cfg.SMTP.Listen) != "25" {
			note = "other servers come to port 25, and smtp.listen is " + cfg.SMTP.Listen
		}
		list = append(list, record{domain, "MX", "10 " + cfg.Hostname + ".", note})
		if domain != cfg.Hostname {
			list = append(list, record{domain, "TXT", noSending, "xm sends nothing to other servers; if another program does in this domain's name, allow that: v=spf1 ip4:ADDRESS -all"})
		}
		list = append(list, serviceRecords(cfg, domain)...)
	}
	return list
}

func addressRecords(name string, addrs []netip.Addr) []record {
	if len(addrs) == 0 {
		return []record{{name, "A", "ADDRESS", "this machine has private addresses alone: the public one"}}
	}
	var list []record
	for _, a := range addrs {
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		list = append(list, record{name, kind, a.String(), ""})
	}
	return list
}

// serviceRecords let mail programs find the services (RFC 6186, RFC 8314). What
// does not run has the target "." (RFC 6186, section 3.4), so that they need not
// try.
func serviceRecords(cfg config.Config, domain string) (list []record) {
	for _, s := range services {
		if !slices.Contains([]string{"submission", "submissions", pop3Service, "pop3s"}, s.name) {
			continue
		}
		data := "0 0 0 ."
		if addr := s.configured(cfg); addr != "" && !onLoopback(addr) {
			data = "0 1 " + portOf(addr) + " " + cfg.Hostname + "."
		}
		list = append(list, record{"_" + s.name + "._tcp." + domain, "SRV", data, ""})
	}
	slices.SortStableFunc(list, func(a, b record) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr) // config has checked it
	return port
}

func onLoopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
