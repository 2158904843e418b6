package config

import (
	"fmt"
	"net/netip"
)

// Networks are written as "192.0.2.0/24", or as an address for a single host.
type Networks []netip.Prefix

// UnmarshalTOML is toml.Unmarshaler's.
func (n *Networks) UnmarshalTOML(value any) error {
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf("a list of networks is wanted, not %v", value)
	}
	*n = nil
	for _, entry := range list {
		text, _ := entry.(string)
		p, err := parseNetwork(text)
		if err != nil {
			return fmt.Errorf("%q is neither a network (192.0.2.0/24) nor an address", fmt.Sprint(entry))
		}
		*n = append(*n, p)
	}
	return nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	// An IPv4 network in the form of IPv6 (RFC 4291, section 2.5.5.2) would match nobody.
	const mapped = 96 // bits before the IPv4 address
	if err == nil && p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p, err
}

// loopback is this machine.
func loopback() Networks {
	return Networks{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}
