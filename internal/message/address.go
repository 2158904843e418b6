package message

import (
	"net/mail"
	"net/textproto"
	"regexp"
	"strings"
)

// Address is a mailbox.
type Address struct {
	Name    string `json:"name,omitempty"` // as a person reads it
	Address string `json:"address"`
}

// String is the address, after the name if there is one. Who did not write one
// has a name alone.
func (a Address) String() string {
	switch {
	case a.Name == "":
		return a.Address
	case a.Address == "":
		return a.Name
	}
	return a.Name + " <" + a.Address + ">"
}

// maxAddresses bounds how many of a field are looked at.
const maxAddresses = 1000

func addresses(fields textproto.MIMEHeader, name string) []Address {
	all := allAddresses(fields, name)
	return all[:min(len(all), maxAddresses)]
}

func allAddresses(fields textproto.MIMEHeader, name string) (all []Address) {
	parser := mail.AddressParser{WordDecoder: &words}
	for _, value := range fields[name] {
		if value == "" || value == "<>" {
			continue
		}
		value = mendWords(value)
		list, err := parser.ParseList(value)
		if bare, closed := withoutComments(value); err != nil && closed { // they may stand within an address
			list, err = parser.ParseList(bare)
		}
		if err != nil {
			for _, piece := range splitAddresses(value) {
				if a, err := parser.Parse(piece); err == nil {
					list = append(list, a)
				} else {
					list = append(list, looseAddress(piece))
				}
			}
		}
		for _, a := range list {
			// Against RFC 2047, section 5, some programs put encoded words in quotes.
			all = append(all, Address{decodeText(a.Name), validUTF8(a.Address)})
		}
	}
	return all
}

// splitAddresses cuts a field in which something is broken into addresses, so that
// the others can be read. What has no "@" before one in "<>" is of its name.
func splitAddresses(value string) (all []string) {
	quoted, depth, begin := false, 0, 0
	var names []string
	for i := 0; i <= len(value); i++ {
		switch {
		case i+1 < len(value) && value[i] == '\\':
			i++
		case i < len(value) && value[i] == '"':
			quoted = !quoted
		case i < len(value) && value[i] == '(' && !quoted:
			depth++
		case i < len(value) && value[i] == ')' && !quoted:
			depth = max(0, depth-1)
		case i >= len(value) || !quoted && depth == 0 && (value[i] == ',' || value[i] == ';'):
			piece := strings.TrimSpace(value[begin:min(i, len(value))])
			begin = i + 1
			if strings.Contains(piece, "<") {
				piece, names = strings.Join(append(names, piece), ", "), nil
			}
			if strings.Contains(piece, "@") {
				all, names = append(append(all, names...), piece), nil
			} else if piece != "" {
				names = append(names, piece)
			}
		}
	}
	return append(all, names...)
}

// looseAddress finds the address in a field that is not as RFC 5322 has it. The
// Address is empty where there is none.
func looseAddress(value string) *mail.Address {
	text := decodeText(value)
	bare, _ := withoutComments(text)
	bare = joinDots(bare)
	name, address := text, ""
	if open := strings.LastIndexByte(text, '<'); open >= 0 {
		name = strings.Trim(text[:open], " \t\"")
		address, _, _ = strings.Cut(text[open+1:], ">")
	} else if strings.Contains(bare, "@") && !strings.ContainsAny(bare, " \t,") {
		name, address = "", bare
	}
	if strings.HasPrefix(address, "@") { // a route (RFC 5322, section 4.4)
		_, address, _ = strings.Cut(address, ":")
	}
	address, _ = withoutComments(address)
	if address = joinDots(address); strings.ContainsAny(address, " \t") {
		name, address = text, ""
	}
	return &mail.Address{Name: name, Address: address}
}

// joinDots leaves out what old programs put around the dots of an address (RFC 5322,
// section 4.4).
func joinDots(address string) string {
	return strings.TrimSpace(dotPattern.ReplaceAllString(address, "$1"))
}

var dotPattern = regexp.MustCompile(`[ \t]*([.@])[ \t]*`)
